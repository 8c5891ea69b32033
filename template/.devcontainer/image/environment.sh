#!/bin/sh
# Managed by gpu-ml-template: copier update merges fixes into this file.
# Make /opt/venv hold these locks, and nothing else: `environment.sh framework|gpu|cpu|dev...`.
set -eu
cd "$(dirname "$0")" # with the locks
umask 002            # its group may change it, whatever uid dev has
export UV_CACHE_DIR=/mnt/cache UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never
venv=/opt/venv

for name; do
  shift
  if [ "$name" = framework ]; then set -- "$@" /mnt/parts/framework.txt; else set -- "$@" "$name.txt"; fi
done
[ -e $venv/pyvenv.cfg ] ||
  /mnt/parts/uv venv --quiet --allow-existing --python '>=3.11,<3.14' --prompt venv $venv
/mnt/parts/uv pip sync --python $venv/bin/python --require-hashes --compile-bytecode "$@" || {
  echo "dev container: the packages could not be installed (see above). If it is a certificate," \
    "put your company's into .devcontainer/certs; if a hash, run \`nox -s lock\`." >&2
  exit 1
}
# TensorFlow's C++ headers take 0.4 GB, and only custom operations need them.
[ "${KEEP_HEADERS-true}" = true ] || rm -rf $venv/lib/python3*/site-packages/tensorflow/include
