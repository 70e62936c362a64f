# syntax=docker/dockerfile:1
FROM golang:1.26 AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends libcap2-bin \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
# With .git: the version is that of the commit.
COPY . .
# The capability lets a user who is not root bind ports below 1024. It stays on
# the file: COPY keeps it (BuildKit, the default since Docker 23).
RUN make build BIN=/out \
 && setcap cap_net_bind_service=+ep /out/tlsink \
 && mkdir /out/data

FROM scratch
LABEL org.opencontainers.image.title="tlsink" \
      org.opencontainers.image.description="Tells which outbound TLS policy a mail server really enforces" \
      org.opencontainers.image.source="https://github.com/tlsink/tlsink" \
      org.opencontainers.image.licenses="Apache-2.0"
# Roots for checking other servers' certificates and for ACME.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/tlsink /tlsink
COPY --from=build --chown=65532:65532 /out/data /data
# Low ports, as this user, in one of three ways:
#  - Docker 20.10 and later makes all ports of a container free for all
#    (net.ipv4.ip_unprivileged_port_start=0); so does the compose file;
#  - the capability of the file, where new privileges are allowed: with host
#    networking, or a runtime without that sysctl;
#  - an ambient capability, as Podman gives it for --cap-add.
# Without NET_BIND_SERVICE among the container's capabilities (--cap-drop ALL
# alone) the kernel refuses to run the file: add it.
USER 65532:65532
EXPOSE 25/tcp 53/udp 53/tcp 80/tcp 443/tcp
VOLUME /data
# It asks the running service over its control socket, and costs nothing.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
  CMD ["/tlsink", "zone", "--config", "/etc/tlsink/tlsink.toml"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/tlsink"]
CMD ["serve", "--config", "/etc/tlsink/tlsink.toml"]
