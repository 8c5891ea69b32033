# Like a release whose Python is too old: python3 says so, and apt has no newer one.
FROM debian:trixie-slim
RUN mkdir -p /old/DEBIAN /old/usr/bin && \
    printf '%s\n' 'Package: python3' 'Version: 99' 'Architecture: all' 'Description: old' \
      'Maintainer: Rig <rig@example.org>' >/old/DEBIAN/control && \
    printf '%s\n' '#!/bin/sh' '[ "$1" = --version ] && echo Python 3.9.2' >/old/usr/bin/python3 && \
    chmod +x /old/usr/bin/python3 && dpkg-deb --build /old && dpkg --install /old.deb
