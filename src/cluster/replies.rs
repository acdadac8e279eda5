//! What `INFO` and `CLUSTER INFO` say. Pure.

use std::net::SocketAddr;
use std::time::Duration;

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

/// Where the replicas of a master are that have a link to it (`slave0:ip=...,port=...` of
/// `INFO replication`).
pub fn replicas(info: &str) -> Vec<SocketAddr> {
    let replica = |line: &str| {
        let mut parts = line.strip_prefix("slave")?.split_once(':')?.1.split(',');
        let ip = parts.next()?.strip_prefix("ip=")?.parse().ok()?;
        let port = parts.next()?.strip_prefix("port=")?.parse().ok()?;
        Some(SocketAddr::new(ip, port))
    };
    info.lines().filter_map(replica).collect()
}

/// `cluster_current_epoch`, or 0.
pub fn current_epoch(cluster_info: &str) -> u64 {
    number(cluster_info, "cluster_current_epoch")
}

/// The keys of database 0, the only one in cluster mode, from `INFO keyspace`; without any, the
/// database is not listed.
pub fn keys(info: &str) -> u64 {
    let keys = field(info, "db0").and_then(|db| db.strip_prefix("keys=")?.split(',').next());
    keys.and_then(|keys| keys.parse().ok()).unwrap_or(0)
}

/// A replication stream: a master's own, or what a replica has of its master's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// `master_replid`: a random id, the same on both ends of a link that is up.
    pub id: String,
    /// How far it has come, in bytes.
    pub offset: u64,
    /// `master_link_status:up`; always so for a master.
    pub link_up: bool,
}

impl Stream {
    /// Whether a replica has a whole copy of it. One that has begun a full sync and not finished it
    /// has dropped where its master was, and says an offset of 1 (`genRedisInfoString` in
    /// `src/server.c`).
    pub fn is_whole(&self) -> bool {
        self.link_up || self.offset > 1
    }
}

/// The stream of `INFO replication`.
pub fn stream(info: &str) -> Stream {
    let id = field(info, "master_replid").unwrap_or_default().to_owned();
    match role(info) {
        Role::Master => Stream { id, offset: number(info, "master_repl_offset"), link_up: true },
        // It keeps the count without its master.
        Role::Replica { link_up, .. } => {
            Stream { id, offset: number(info, "slave_repl_offset"), link_up }
        }
    }
}

fn number(info: &str, name: &str) -> u64 {
    field(info, name).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Where a replica looks for its master, from `INFO replication`; `None` where that is a name.
pub fn followed(info: &str) -> Option<SocketAddr> {
    let host = field(info, "master_host")?.parse().ok()?;
    Some(SocketAddr::new(host, field(info, "master_port")?.parse().ok()?))
}

/// For how long the link of a replica has been down, from `INFO replication`. `None`: it is up, or
/// has never been since the start, where the server says -1.
pub fn down_for(info: &str) -> Option<Duration> {
    field(info, "master_link_down_since_seconds")?.parse().ok().map(Duration::from_secs)
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
    fn replicas_are_where_they_have_a_link() {
        let info = "role:master\r\nconnected_slaves:2\r\n\
                    slave0:ip=10.0.0.4,port=6379,state=online,offset=9,lag=0,type=main-channel\r\n\
                    slave1:ip=fd00::4,port=7000,state=wait_bgsave,offset=0,lag=0\r\n\
                    slaves_waiting_psync:1\r\nslave2:ip=name,port=1\r\n";
        let expected = ["10.0.0.4:6379", "[fd00::4]:7000"].map(|at| at.parse().unwrap());
        assert_eq!(replicas(info), expected);
        assert_eq!(replicas(REPLICA), []);
    }

    #[test]
    fn stream_is_that_of_the_role() {
        let tail = "slave_repl_offset:7\r\nmaster_replid:ab\r\nmaster_repl_offset:9\r\n";
        let replica = stream(&format!("{REPLICA}{tail}"));
        assert_eq!(replica, Stream { id: "ab".to_owned(), offset: 7, link_up: false });
        let master = stream(&format!("role:master\r\n{tail}"));
        assert_eq!(master, Stream { id: "ab".to_owned(), offset: 9, link_up: true });
    }

    #[test]
    fn replica_follows_a_literal_address() {
        assert_eq!(followed(REPLICA), "10.0.0.1:6379".parse().ok());
        assert_eq!(followed(&REPLICA.replace("10.0.0.1", "redis-0")), None);
        assert_eq!(
            followed(&REPLICA.replace("10.0.0.1", "fd00::1")),
            "[fd00::1]:6379".parse().ok()
        );
        assert_eq!(followed("role:master\r\n"), None);
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
