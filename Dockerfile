# The image: a Redis or Valkey server image with `rejoin` in it, as its first process.
#
#   docker build -t redis-rejoin .                                     # on redis:8
#   docker build -t valkey-rejoin --build-arg SERVER_IMAGE=valkey/valkey:9 .
#   docker build -t rejoin --target binary .                           # the binary alone
#
# Nothing here depends on the architecture: for another one, `docker build --platform linux/arm64`
# takes the base images of that one. The binary is static, so an image of Alpine should do as Debian's
# does. The tests build on images made from Debian's packages; of arm64 the binary was tried and no image,
# and none of Alpine or of Docker Hub.

# The C library of the builder goes into the binary: glibc, 2.36 or newer for the smallest one.
ARG BUILDER_IMAGE=rust:1-slim-trixie
ARG SERVER_IMAGE=redis:8

FROM ${BUILDER_IMAGE} AS build
WORKDIR /src
COPY . .
# The directory of the result is named after the host, see .cargo/config.toml.
RUN cargo build --locked --release && mv target/*/release/rejoin /rejoin && rm -r target

# For an init container that runs `rejoin install`, and for image volumes.
FROM scratch AS binary
COPY --from=build /rejoin /rejoin
ENTRYPOINT ["/rejoin"]

# The last stage is what is built where none is named.
FROM ${SERVER_IMAGE} AS server
COPY --from=build /rejoin /usr/local/bin/rejoin
ENTRYPOINT ["rejoin"]
# As the server image starts it: its own script gives root's rights away.
CMD ["docker-entrypoint.sh", "redis-server"]
