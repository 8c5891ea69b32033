# Like ubuntu:24.04: a user with uid 1000 is there already.
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
RUN useradd --uid 1000 --user-group --create-home --shell /bin/bash ubuntu && \
    touch /home/ubuntu/note
USER ubuntu
