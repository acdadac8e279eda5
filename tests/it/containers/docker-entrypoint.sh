#!/bin/sh
# As in the official images: a server that root starts gets its volume and gives root's rights away.
set -e
case ${1:-} in -* | *.conf) set -- redis-server "$@" ;; esac
if [ "$(id -u)" = 0 ]; then
    case $1 in
    redis-server | valkey-server)
        find . \! -user redis -exec chown redis '{}' +
        exec setpriv --reuid=redis --regid=redis --clear-groups "$0" "$@"
        ;;
    esac
fi
exec "$@"
