# Like alpine or Fedora: no apt-get.
FROM debian:trixie-slim
RUN rm /usr/bin/apt-get
