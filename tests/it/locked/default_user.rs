//! The user `default`, as whom a server reads its append-only file.

use std::fs;

use super::{LIMIT, alone, wait_all_ready, well};
use crate::support::server::{any_server, servers};
use crate::support::wait::wait_for;

const WARNING: &str = "the ACL user default may not do everything";

/// Where it had no rights, Redis 7.0 and 8.0 and Valkey 8.1 dropped what a script had written.
#[test]
fn what_a_script_has_written_is_there_after_a_restart() {
    for server in servers() {
        let mut fleet = well(&server);
        let pod = &mut fleet.pods[0];
        let script = "redis.call('set', '{a}1', 1) redis.call('set', '{a}2', 2)";
        pod.redis(&["EVAL", script, "0"]).unwrap();
        assert!(pod.stop().success());
        pod.start();
        wait_all_ready(&fleet);
        assert_eq!(fleet.pods[0].text(&["DBSIZE"]).unwrap(), "2", "{}", server.name);
        assert!(!fleet.pods[0].log().contains(WARNING));
    }
}

#[test]
fn default_user_without_rights_is_warned_of() {
    let mut fleet = alone(&any_server());
    let file = fleet.dir().join("users.acl");
    let users = fs::read_to_string(&file).unwrap();
    fs::write(&file, users.replace("user default off ~* &* +@all", "user default off")).unwrap();
    fleet.start_all();
    wait_for(LIMIT, "a warning", || fleet.pods[0].log().contains(WARNING));
}
