#!/bin/sh
# Managed by gpu-ml-template: copier update merges fixes into this file.
# Prepare the base image: certificates, Python, the loader's paths, the user dev.
set -eu
cd "$(dirname "$0")" # with packages.sh, and what is in .devcontainer/certs
fail() {
  echo "dev container: $*" >&2
  exit 1
}

command -v apt-get >/dev/null ||
  fail "BASE_IMAGE has no apt-get: take an image of Debian or Ubuntu, such as debian:trixie-slim."

# A company's certificates come first: apt may need them to reach anything.
export CA_BUNDLE=/tmp/bundle.crt
cat /etc/ssl/certs/ca-certificates.crt >"$CA_BUNDLE" 2>/dev/null || :
for file in *.crt; do
  [ -e "$file" ] || continue
  name=.devcontainer/certs/$file
  count=$(grep -c -e '-----BEGIN CERTIFICATE-----' "$file") || :
  [ "$count" = 1 ] || fail "$name holds $count certificates in PEM format, and has to hold one:" \
    "put each certificate into a file of its own, and convert other formats, for example with" \
    "\`openssl x509 -inform der -in FILE -out FILE.crt\`."
  ! grep -q 'PRIVATE KEY' "$file" || fail "$name holds a private key: take it out, and renew it."
  { cat "$file" && echo; } >>"$CA_BUNDLE"
done
sh packages.sh ca-certificates openssl
for file in *.crt; do
  [ -e "$file" ] || continue
  name=.devcontainer/certs/$file
  openssl x509 -in "$file" -noout 2>/dev/null ||
    fail "$name is damaged: openssl cannot read its certificate. Get the file again."
  openssl x509 -in "$file" -noout -checkend 0 >/dev/null ||
    fail "$name has expired ($(openssl x509 -in "$file" -noout -enddate)): get the new one."
  cp "$file" /usr/local/share/ca-certificates/
done
update-ca-certificates
rm "$CA_BUNDLE"
unset CA_BUNDLE

has_python() {
  for name in python3 python3.13 python3.12 python3.11; do
    ! "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null ||
      return 0
  done
  return 1
}
has_python || sh packages.sh python3
has_python || fail "BASE_IMAGE has $(python3 --version 2>&1), and the project needs Python 3.11," \
  "3.12 or 3.13: take debian:trixie-slim, ubuntu:24.04 or another image that has one of them."

# Stub libraries of a CUDA toolkit are for linking: at run time they hide the driver.
for file in /etc/ld.so.conf /etc/ld.so.conf.d/*.conf; do
  [ ! -e "$file" ] || sed -i '/\/stubs/d' "$file"
done
# TensorFlow's images let everybody write what each shell runs, and run ldconfig in it.
[ ! -e /etc/bash.bashrc ] || { chmod go-w /etc/bash.bashrc && sed -i '/^ldconfig/d' /etc/bash.bashrc; }

# Uid and gid 1000 are for dev: most people have them, and then files need no change of owner.
make_user() {
  for name in dev "$(getent passwd 1000 | cut -d: -f1)"; do
    ! id "$name" >/dev/null 2>&1 || { userdel "$name" && rm -rf "/home/${name:?}"; } || return 1
  done
  for name in dev venv "$(getent group 1000 | cut -d: -f1)"; do
    ! getent group "${name:-none of them}" >/dev/null || groupdel "$name" || return 1
  done
  groupadd --system venv && # not 1000, and still dev's when the uid is changed to the host user's
    groupadd --gid 1000 dev &&
    useradd --uid 1000 --gid dev --groups venv --create-home --shell /bin/bash dev
}
make_user || fail "BASE_IMAGE has users or groups in the way of dev and uid 1000 (see above)."
install --directory --owner=dev --group=dev /home/dev/.cache # else its volume would be root's
install --directory --group=venv --mode=2775 /opt/venv
echo "PATH=/opt/venv/bin:\$PATH" >/etc/profile.d/venv.sh # login shells start from a new PATH
