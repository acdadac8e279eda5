//! What `INFO` and `CLUSTER INFO` say. Pure.

use crate::health::Role;

/// The value of `name:value` in a reply of such lines.
pub fn field<'a>(reply: &'a str, name: &str) -> Option<&'a str> {
    reply.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
}

/// `cluster_state:ok`.
pub fn state_is_ok(cluster_info: &str) -> bool {
    field(cluster_info, "cluster_state") == Some("ok")
}

/// The role of `INFO replication`. A link that is up has finished its sync: until then it is
/// `down`, with `master_sync_in_progress:1` (`genRedisInfoString` in `src/server.c`).
pub fn role(info: &str) -> Role {
    match field(info, "role") {
        Some("slave") => {
            let link_up = field(info, "master_link_status") == Some("up");
            Role::Replica { link_up, synced_once: link_up }
        }
        _ => Role::Master,
    }
}

/// `cluster_current_epoch`, or 0.
pub fn current_epoch(cluster_info: &str) -> u64 {
    field(cluster_info, "cluster_current_epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0)
}

/// The keys of database 0, the only one in cluster mode, from `INFO keyspace`; without any, the
/// database is not listed.
pub fn keys(info: &str) -> u64 {
    let keys = field(info, "db0").and_then(|db| db.strip_prefix("keys=")?.split(',').next());
    keys.and_then(|keys| keys.parse().ok()).unwrap_or(0)
}

/// How much of its master's stream a replica has, in bytes, or 0, from `INFO replication`. It keeps
/// the count without its master.
pub fn replica_offset(info: &str) -> u64 {
    field(info, "slave_repl_offset").and_then(|offset| offset.parse().ok()).unwrap_or(0)
}

/// `7.0.15`, or `valkey 8.1.1`, from `INFO server`. Valkey reports a fixed `redis_version` besides.
pub fn version(info: &str) -> Option<String> {
    match field(info, "valkey_version") {
        Some(version) => Some(format!("valkey {version}")),
        None => field(info, "redis_version").map(ToOwned::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLICA: &str = "# Replication\r\nrole:slave\r\nmaster_host:10.0.0.1\r\n\
                           master_port:6379\r\nmaster_link_status:down\r\n";

    #[test]
    fn field_is_the_whole_value_of_the_whole_name() {
        assert_eq!(field(REPLICA, "master_host"), Some("10.0.0.1"));
        assert_eq!(field(REPLICA, "master"), None);
    }

    #[test]
    fn replica_with_its_link_down_is_not_synced() {
        assert_eq!(role(REPLICA), Role::Replica { link_up: false, synced_once: false });
        let up = REPLICA.replace("down", "up");
        assert_eq!(role(&up), Role::Replica { link_up: true, synced_once: true });
        assert_eq!(role("role:master\r\n"), Role::Master);
    }

    #[test]
    fn keys_are_those_of_database_0() {
        assert_eq!(keys("# Keyspace\r\ndb0:keys=12,expires=3,avg_ttl=0\r\n"), 12);
        assert_eq!(keys("# Keyspace\r\n"), 0);
    }

    #[test]
    fn state_is_ok_only_when_it_says_so() {
        assert!(state_is_ok("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"));
        assert!(!state_is_ok("cluster_state:fail\r\n"));
        assert!(!state_is_ok(""));
    }
}
