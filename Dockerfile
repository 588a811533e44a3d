# One static binary, no shell, no user to become root. Build from the top of the
# tree: docker build --build-arg VERSION="$(git describe --tags --always)" .
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN make build VERSION="$VERSION"

FROM scratch
# For TLS to NATS and to the database.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/ttp-worker /ttp-worker
USER 65532:65532
ENTRYPOINT ["/ttp-worker"]
CMD ["run"]
