# Two images, each of one static program and nothing else:
#   docker build --target server -t tunnelpool/server .
#   docker build --target client -t tunnelpool/client .
# docs/INSTALL.md tells how to run them.
ARG GO_IMAGE=golang:1.26

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# What --version says; the sources come without their history.
ARG VERSION=devel
ARG COMMIT=
ARG DATE=
RUN CGO_ENABLED=0 go build -trimpath -o /out/ -ldflags "-s -w \
    -X github.com/tunnelpool/pool/internal/cli.version=${VERSION} \
    -X github.com/tunnelpool/pool/internal/cli.commit=${COMMIT} \
    -X github.com/tunnelpool/pool/internal/cli.date=${DATE}" \
    ./cmd/tunnel-server ./cmd/tunnel-client
# The state directory, for the user that the programs run as.
RUN mkdir -p /root-of-image/var/lib/tunnelpool && chmod 0700 /root-of-image/var/lib/tunnelpool && \
    chown -R 65532:65532 /root-of-image/var/lib/tunnelpool

FROM scratch AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /root-of-image/ /
USER 65532:65532
ENV STATE_DIRECTORY=/var/lib/tunnelpool
VOLUME /var/lib/tunnelpool

# Healthy is a program that answers. A client whose server is away does: another
# start would not help it.
FROM base AS client
COPY --from=build /out/tunnel-client /tunnel-client
ENTRYPOINT ["/tunnel-client"]
HEALTHCHECK --start-period=10s CMD ["/tunnel-client", "status"]

FROM base AS server
COPY --from=build /out/tunnel-server /tunnel-server
EXPOSE 10101
ENTRYPOINT ["/tunnel-server"]
HEALTHCHECK --start-period=10s CMD ["/tunnel-server", "status"]
