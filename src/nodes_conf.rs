//! `nodes.conf` and the `CLUSTER NODES` reply: parse every version's lines, rewrite one address. Pure.
