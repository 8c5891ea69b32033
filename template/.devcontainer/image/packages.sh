#!/bin/sh
# Managed by gpu-ml-template: copier update merges fixes into this file.
# Install Debian packages: `packages.sh NAME...`. CA_BUNDLE is for apt sources on https.
set -eu
export DEBIAN_FRONTEND=noninteractive

apt() {
  apt-get --option "Acquire::https::CAInfo=${CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}" "$@"
}

# Without --error-on a source that cannot be reached is only a warning.
if ! { apt update --error-on=any && apt install --yes --no-install-recommends "$@"; }; then
  echo "dev container: apt-get could not install $* (see above). Behind a proxy, tell Docker its" \
    "address, and put your company's certificate into .devcontainer/certs." >&2
  exit 1
fi
apt-get clean
rm -rf /var/lib/apt/lists/*
