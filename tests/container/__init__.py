"""Tests on a real container engine, by the real dev container CLI: `nox -s container`.

They need Docker, or root and the Debian packages docker.io, debootstrap, chromium and npm.
"""
