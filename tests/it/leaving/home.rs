//! `REJOIN_PREFER_HOME`: a first master that is the replica of its successor takes its slots back.

use super::*;
use crate::support::server::any_server;
use crate::support::writer::{Pace, Writers};

#[test]
fn first_master_takes_its_slots_back_and_no_write_is_lost() {
    let mut recipe = six(&any_server(), PATIENT);
    recipe.env.push(("REJOIN_PREFER_HOME".to_owned(), "on".to_owned()));
    let mut fleet = Fleet::new(&recipe);
    form(&mut fleet);
    wait_all_ready(&fleet);
    let writers = Writers::start(&fleet, Pace::one_by_one(Duration::from_millis(2)));
    assert!(stop(&mut fleet.pods[0]).0.success());
    fleet.pods[0].start();
    wait_ok(LIMIT, "readiness", || crate::forming::ready(&fleet.pods[0]));
    assert_eq!(role(&fleet.pods[0]).unwrap(), "slave");
    wait_says(&fleet.pods[0], "take the slots of this pod's seat back from ");
    wait_role(&fleet.pods[0], "master");
    fleet.wait_whole(LIMIT);
    for written in writers.end() {
        assert_eq!(written.lost(&fleet), Ok(0));
        assert!(written.longest_gap() < PATIENT / 2, "{:?}", written.longest_gap());
    }
    assert_keys(&fleet);
}
