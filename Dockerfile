# syntax=docker/dockerfile:1
# A static binary (CGO is not needed: PostgreSQL's parser runs in WebAssembly)
# on an empty image: no shell, no package manager, no root.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
      -ldflags "-s -w -X main.version=${VERSION}" -o /out/chaperone ./cmd/chaperone

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/share/zoneinfo /usr/share/zoneinfo
COPY --from=build /out/chaperone /chaperone
USER 65532:65532
EXPOSE 8443
ENTRYPOINT ["/chaperone"]
CMD ["serve", "--config", "/etc/chaperone/chaperone.yaml"]
