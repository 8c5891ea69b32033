# Like tensorflow/tensorflow:*-gpu and nvidia/cuda:*-devel: a CUDA of its own, here of libraries
# that have the right names and no symbols, in all the places where those images announce theirs.
ARG BASE_IMAGE=gpu-ml-rig-ubuntu_like

FROM ${BASE_IMAGE} AS libraries
USER root
RUN apt-get update --error-on=any && apt-get install --yes --no-install-recommends binutils
RUN mkdir -p /cuda/stubs && echo | as -o /empty.o && \
    for name in libcublas.so.12 libcublasLt.so.12 libcudart.so.12 libcudnn.so.8 libcudnn.so.9 \
      libcufft.so.11 libcupti.so.12 libcurand.so.10 libcusolver.so.11 libcusparse.so.12 \
      libnccl.so.2 libnvJitLink.so.12 stubs/libcuda.so.1 stubs/libnvidia-ml.so.1; do \
      ld -shared -soname "$(basename $name)" -o "/cuda/$name" /empty.o || exit; \
    done

FROM ${BASE_IMAGE}
USER root
COPY --from=libraries /cuda /usr/local/cuda-12.3/lib64
COPY --from=libraries /cuda/libcudnn.so.9 /cuda/libcusolver.so.11 /usr/local/lib/
RUN ln -s cuda-12.3 /usr/local/cuda && mkdir -p /usr/local/cuda/extras/CUPTI && \
    ln -s ../../lib64 /usr/local/cuda/extras/CUPTI/lib64 && \
    echo /usr/local/cuda/lib64 >/etc/ld.so.conf.d/000_cuda.conf && \
    echo /usr/local/cuda-12.3/lib64 >/etc/ld.so.conf.d/988_cuda-12.conf && \
    echo /usr/local/cuda/lib64/stubs >/etc/ld.so.conf.d/z-cuda-stubs.conf && \
    chmod a+rwx /etc/bash.bashrc && echo ldconfig >>/etc/bash.bashrc && ldconfig
ENV CUDA_VERSION=12.3.0 NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_REQUIRE_CUDA="cuda>=12.3 brand=tesla,driver>=470,driver<471" \
    PATH=/usr/local/nvidia/bin:/usr/local/cuda/bin:$PATH \
    LD_LIBRARY_PATH=/usr/local/cuda/extras/CUPTI/lib64:/usr/local/cuda/lib64
