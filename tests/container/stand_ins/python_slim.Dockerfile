# Like python:3.13-slim: Debian 13 with Python 3.13 and pip, here Debian's own, and not much else.
FROM debian:trixie-slim
RUN apt-get update --error-on=any && \
    apt-get install --yes --no-install-recommends ca-certificates python3-pip python3-venv && \
    rm -r /usr/lib/python3.13/EXTERNALLY-MANAGED /var/lib/apt/lists/* && \
    ln -s python3 /usr/bin/python
