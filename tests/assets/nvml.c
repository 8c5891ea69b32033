/* A stand-in for NVIDIA's library NVML (libnvidia-ml.so.1), as nvml.h declares it.
 *
 * It answers as the variable NVML_STUB says, or else the file /etc/nvml-stub, a line each:
 *   driver 580.95.05
 *   init 18              nvmlInit_v2 fails with this error; or `hang`, or `crash`
 *   count 3              nvmlDeviceGetCount_v2 fails with this error
 *   gpu NVIDIA A100      one more GPU; what follows is said about it
 *   capability 8 0
 *   memory 40960 40300   MiB in all, and free
 *   busy 12              percent of its time; with a second number, that is said from then on
 *   encoder 3            percent of its video encoder's time
 *   mig 7 2              in MIG mode: how many instances it may have, and has
 *   compute 4711 900     a process that computes, and its MiB (-1: not known)
 *   graphics 4712 80     one that draws
 *   handle 15            nvmlDeviceGetHandleByIndex_v2 fails with this error
 *   answers 15           that succeeds, and all that is asked about the GPU fails with this error
 * What a GPU has no line for is not supported by it, as it is with NVIDIA's.
 * With -DOLD_DRIVER the library lacks what came after the driver 418: all that has to do with MIG.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NOT_FOUND = 6, INSUFFICIENT_SIZE };
enum { GPUS = 16, PROCESSES = 100, NONE = -1 };
typedef int nvmlReturn_t;
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
typedef struct { unsigned int gpu, memory; } nvmlUtilization_t;
typedef struct { unsigned int pid; unsigned long long usedGpuMemory; } nvmlProcessInfo_v1_t;
typedef struct { int count; nvmlProcessInfo_v1_t items[PROCESSES]; } Processes;
typedef struct nvmlDevice_st {
  char name[96];
  long long total, free;
  int major, minor, busy, later, encoder, instances, made, handle, answers;
  Processes compute, graphics;
} *nvmlDevice_t;

static struct nvmlDevice_st gpus[GPUS];
static char driver[80] = "580.95.05", init[16] = "0";
static unsigned int count;
static int count_error, initialized;

/* The texts of NVIDIA's library, as far as users have reported them. */
const char *nvmlErrorString(nvmlReturn_t error) {
  switch (error) {
  case SUCCESS: return "Success";
  case UNINITIALIZED: return "Uninitialized";
  case INVALID_ARGUMENT: return "Invalid Argument";
  case NOT_SUPPORTED: return "Not Supported";
  case 4: return "Insufficient Permissions";
  case NOT_FOUND: return "Not Found";
  case INSUFFICIENT_SIZE: return "Insufficient Size";
  case 9: return "Driver Not Loaded";
  case 15: return "GPU is lost";
  case 17: return "GPU access blocked by the operating system";
  case 18: return "Driver/library version mismatch";
  default: return "Unknown Error";
  }
}

static void add(Processes *to, const char *words) {
  long long mib = 0;
  nvmlProcessInfo_v1_t *process = &to->items[to->count++];
  sscanf(words, "%u %lld", &process->pid, &mib);
  process->usedGpuMemory = mib < 0 ? ~0ULL : (unsigned long long)mib << 20;
}

static void setting(const char *key, const char *words) {
  nvmlDevice_t gpu = &gpus[count ? count - 1 : 0];
  if (!strcmp(key, "driver")) snprintf(driver, sizeof driver, "%s", words);
  if (!strcmp(key, "init")) snprintf(init, sizeof init, "%s", words);
  if (!strcmp(key, "count")) count_error = atoi(words);
  if (!strcmp(key, "gpu")) {
    gpu = &gpus[count++];
    snprintf(gpu->name, sizeof gpu->name, "%s", words);
    gpu->total = gpu->major = gpu->busy = gpu->later = gpu->encoder = gpu->instances = NONE;
  }
  if (!strcmp(key, "capability")) sscanf(words, "%d %d", &gpu->major, &gpu->minor);
  if (!strcmp(key, "memory")) sscanf(words, "%lld %lld", &gpu->total, &gpu->free);
  if (!strcmp(key, "busy") && sscanf(words, "%d %d", &gpu->busy, &gpu->later) < 2)
    gpu->later = gpu->busy;
  if (!strcmp(key, "encoder")) gpu->encoder = atoi(words);
  if (!strcmp(key, "mig")) sscanf(words, "%d %d", &gpu->instances, &gpu->made);
  if (!strcmp(key, "compute")) add(&gpu->compute, words);
  if (!strcmp(key, "graphics")) add(&gpu->graphics, words);
  if (!strcmp(key, "handle")) gpu->handle = atoi(words);
  if (!strcmp(key, "answers")) gpu->answers = atoi(words);
}

nvmlReturn_t nvmlInit_v2(void) {
  static char text[1 << 16];
  const char *given = getenv("NVML_STUB");
  FILE *file = given ? NULL : fopen("/etc/nvml-stub", "r");
  if (given) snprintf(text, sizeof text, "%s", given);
  if (file) text[fread(text, 1, sizeof text - 1, file)] = 0;
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    char key[16] = "", words[128] = "";
    sscanf(line, "%15s %127[^\n]", key, words);
    setting(key, words);
  }
  if (!strcmp(init, "crash")) raise(SIGSEGV);
  while (!strcmp(init, "hang")) pause();
  initialized = !atoi(init);
  return atoi(init);
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
  if (!initialized) return UNINITIALIZED;
  if (length <= strlen(driver)) return INSUFFICIENT_SIZE;
  strcpy(version, driver);
  return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *deviceCount) {
  if (!initialized) return UNINITIALIZED;
  *deviceCount = count;
  return count_error;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
  if (!initialized) return UNINITIALIZED;
  if (index >= count) return INVALID_ARGUMENT;
  if (!gpus[index].handle) *device = &gpus[index];
  return gpus[index].handle;
}

/* What keeps a GPU from an answer: a wrong handle, its own error, or that it cannot do this. */
static nvmlReturn_t check(nvmlDevice_t device, int supported) {
  if (device < gpus || device >= gpus + count) return INVALID_ARGUMENT;
  return device->answers ? device->answers : supported ? SUCCESS : NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length) {
  nvmlReturn_t error = check(device, 1);
  if (!error && length <= strlen(device->name)) return INSUFFICIENT_SIZE;
  if (!error) strcpy(name, device->name);
  return error;
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
  nvmlReturn_t error = check(device, device->major != NONE);
  if (!error) *major = device->major, *minor = device->minor;
  return error;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
  nvmlReturn_t error = check(device, device->total != NONE);
  long long used = device->total - device->free;
  if (!error) *memory = (nvmlMemory_t){device->total << 20, device->free << 20, used << 20};
  return error;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization) {
  nvmlReturn_t error = check(device, device->busy != NONE && device->instances == NONE);
  if (!error) *utilization = (nvmlUtilization_t){device->busy, 100};
  device->busy = device->later;
  return error;
}

nvmlReturn_t nvmlDeviceGetEncoderUtilization(nvmlDevice_t device, unsigned int *utilization,
                                             unsigned int *samplingPeriodUs) {
  nvmlReturn_t error = check(device, device->encoder != NONE && device->instances == NONE);
  if (!error) *utilization = device->encoder, *samplingPeriodUs = 167000;
  return error;
}

/* Without a version in their names, these fill the first version of the struct. */
static nvmlReturn_t list(Processes *from, unsigned int *infoCount, nvmlProcessInfo_v1_t *infos) {
  unsigned int room = *infoCount;
  *infoCount = from->count;
  if (room < *infoCount) return INSUFFICIENT_SIZE;
  memcpy(infos, from->items, from->count * sizeof *infos);
  return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t device, unsigned int *infoCount,
                                                  nvmlProcessInfo_v1_t *infos) {
  nvmlReturn_t error = check(device, 1);
  return error ? error : list(&device->compute, infoCount, infos);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses(nvmlDevice_t device, unsigned int *infoCount,
                                                   nvmlProcessInfo_v1_t *infos) {
  nvmlReturn_t error = check(device, 1);
  return error ? error : list(&device->graphics, infoCount, infos);
}

#ifndef OLD_DRIVER
nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *currentMode,
                                  unsigned int *pendingMode) {
  nvmlReturn_t error = check(device, device->major >= 8);
  if (!error) *currentMode = *pendingMode = device->instances != NONE;
  return error;
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *most) {
  nvmlReturn_t error = check(device, 1);
  if (!error) *most = device->instances == NONE ? 0 : device->instances;
  return error;
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index,
                                                 nvmlDevice_t *migDevice) {
  nvmlReturn_t error = check(device, device->instances != NONE);
  /* The instances need not be the first of those that there may be. */
  int first = device->instances - device->made;
  if (!error && (int)index < first) return NOT_FOUND;
  if (!error) *migDevice = device;
  return error;
}
#endif
