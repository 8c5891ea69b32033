# Python, and as much of the real image as its lifecycle commands and the doctor look for.
ARG BASE_IMAGE=debian:trixie-slim
FROM ${BASE_IMAGE}
RUN apt-get update --error-on=any && apt-get install --yes --no-install-recommends python3
RUN groupadd --system venv && useradd --uid 1000 --groups venv --create-home --shell /bin/bash dev && \
    install --directory --owner=dev --group=dev /home/dev/.cache && \
    python3 -m venv --without-pip /opt/venv && \
    ln -s /usr/bin/true /usr/local/bin/uv && ln -s /usr/bin/true /usr/local/bin/nox
ENV PATH=/opt/venv/bin:$PATH UV_PROJECT_ENVIRONMENT=/opt/venv VIRTUAL_ENV=/opt/venv
COPY gpu_facts.json /opt/venv/
USER dev
