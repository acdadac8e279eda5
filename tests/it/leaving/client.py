"""Writes and reads through redis-py's cluster client, with its default retries, until told to stop.

Arguments: HOST:PORT of some nodes. Says `ready`, and at the end `OK ERRORS FIRST-ERROR`.
"""

import sys
import threading
import time

from redis.cluster import ClusterNode, RedisCluster

nodes = [ClusterNode(host, int(port)) for host, port in (at.rsplit(":", 1) for at in sys.argv[1:])]
client = RedisCluster(startup_nodes=nodes)
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
