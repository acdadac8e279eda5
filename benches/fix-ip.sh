#!/bin/sh
# The rival: what the well-known entrypoint of Redis pods does, in our own words. It puts the
# pod's address into the line of nodes.conf that is the node's own, keeps the previous file as
# .bak, and becomes the server.
set -e

if [ -f nodes.conf ]; then
    if [ -z "$POD_IP" ]; then
        echo 'POD_IP is not set' >&2
        exit 1
    fi
    number='[0-9]\{1,3\}'
    sed -i.bak "/myself/ s/$number\.$number\.$number\.$number/$POD_IP/" nodes.conf
fi
exec "$@"
