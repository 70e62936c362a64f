FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /out/tlsink ./cmd/tlsink \
 && mkdir /out/data

FROM scratch
# Roots for checking other servers' certificates and for ACME.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/tlsink /tlsink
COPY --from=build --chown=65532:65532 /out/data /data
# Ports below 1024 as a user who is not root: Docker (20.10 and later) sets
# net.ipv4.ip_unprivileged_port_start=0 inside containers. Other runtimes need
# that sysctl, or NET_BIND_SERVICE as an ambient capability. With host
# networking, set the sysctl on the host.
USER 65532:65532
EXPOSE 25/tcp 53/udp 53/tcp 80/tcp 443/tcp
VOLUME /data
ENTRYPOINT ["/tlsink"]
CMD ["serve", "--config", "/etc/tlsink.toml"]
