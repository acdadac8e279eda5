"""Writes and reads through redis-py's cluster client, with its default retries, until told to stop.

Arguments: HOST:PORT of some nodes. Says `ready`, and at the end `OK ERRORS FIRST-ERROR`. With
CLIENT_TLS, a directory of certificates, it speaks TLS, and logs in as CLIENT_USER with CLIENT_PASSWORD.
"""

import os
import sys
import threading
import time

from redis.cluster import ClusterNode, RedisCluster

nodes = [ClusterNode(host, int(port)) for host, port in (at.rsplit(":", 1) for at in sys.argv[1:])]
options = {}
if tls := os.environ.get("CLIENT_TLS"):
    options = dict(
        ssl=True,
        ssl_ca_certs=f"{tls}/ca.crt",
        ssl_certfile=f"{tls}/server.crt",
        ssl_keyfile=f"{tls}/server.key",
        ssl_check_hostname=False,
        username=os.environ["CLIENT_USER"],
        password=os.environ["CLIENT_PASSWORD"],
    )
client = RedisCluster(startup_nodes=nodes, **options)
told = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), told.set()), daemon=True).start()
print("ready", flush=True)
ok, errors, first = 0, 0, "none"
while not told.is_set():
    key = f"python-{ok + errors}"
    try:
        client.set(key, key)
        if client.get(key) != key.encode():
            raise ValueError(f"{key} was acknowledged and is not there")
        ok += 1
    except Exception as error:
        errors += 1
        if errors == 1:
            first = f"{type(error).__name__}: {error}"
    time.sleep(0.002)
print(ok, errors, first.replace("\n", " "), flush=True)
