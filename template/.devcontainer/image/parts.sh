#!/bin/sh
# Managed by gpu-ml-template: copier update merges fixes into this file.
# Get uv, and take the framework and its CUDA libraries out of the lock: `parts.sh gpu|cpu`.
set -eu
cd "$(dirname "$0")" # with packages.sh and the locks
fail() {
  echo "dev container: $*" >&2
  exit 1
}

case $1 in gpu | cpu) ;; *) fail "ACCELERATOR is '$1', and has to be gpu or cpu." ;; esac
for lock in "$1.txt" dev.txt; do
  [ -f "$lock" ] || fail "requirements/$lock is missing: run \`nox -s lock\`."
done

# A requirement's last line is the first one that no backslash ends.
mkdir /parts
sed -n '/^uv==/,/[^\\]$/p' dev.txt >/tmp/uv.txt
sed -En '/^(tensorflow|jax|torch|triton|nvidia|cuda)[a-z0-9-]*==/,/[^\\]$/p' "$1.txt" \
  >/parts/framework.txt
for part in /tmp/uv.txt /parts/framework.txt; do
  [ -s "$part" ] ||
    fail "requirements/ pins no $(basename "$part" .txt): run \`nox -s lock\`."
done

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
python3 -m pip --version >/dev/null 2>&1 || sh packages.sh python3-pip
python3 -m pip install --quiet --no-deps --require-hashes --target=/tmp/uv -r /tmp/uv.txt ||
  fail "uv could not be installed (see above)."
mv /tmp/uv/bin/uv /parts/
