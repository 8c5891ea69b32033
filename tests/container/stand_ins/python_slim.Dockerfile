# Like python:3.13-slim: Debian 13 with a Python 3.13 and its pip in /usr/local, and not much else.
FROM debian:trixie-slim
RUN apt-get update --error-on=any && \
    apt-get install --yes --no-install-recommends ca-certificates python3-venv && \
    rm -r /var/lib/apt/lists/* && python3 -m venv /usr/local
