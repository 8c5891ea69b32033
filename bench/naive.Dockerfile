# The rival in `nox -s bench -- image`: the same locks, in the way that most projects install them.
FROM debian:trixie-slim
COPY .devcontainer/certs /usr/local/share/ca-certificates
RUN apt-get update && apt-get install --yes ca-certificates curl git python3 python3-venv && \
    update-ca-certificates
ENV PATH=/opt/venv/bin:$PATH PIP_CERT=/etc/ssl/certs/ca-certificates.crt
COPY requirements /requirements
RUN python3 -m venv /opt/venv && \
    pip install --no-cache-dir -r /requirements/gpu.txt -r /requirements/dev.txt
