//! `REJOIN_PREFER_HOME`: a first master that is the replica of its successor takes its slots back.

use super::rolling::{GAP_MAX, roll};
use super::*;
use crate::support::server::any_server;
use crate::support::writer::{Pace, Writers};

/// What a pod says when it goes home.
const GOES_HOME: &str = "take the slots of this pod's seat back from ";

/// The ordinals of those that have gone home, or try to.
fn home(fleet: &Fleet) -> Vec<usize> {
    let gone = fleet.pods.iter().filter(|pod| pod.log().contains(GOES_HOME));
    gone.map(|pod| pod.ordinal).collect()
}

#[test]
fn first_master_takes_its_slots_back_after_the_last_restart_and_no_write_is_lost() {
    let mut recipe = six(&any_server(), PATIENT);
    recipe.env.push(("REJOIN_PREFER_HOME".to_owned(), "on".to_owned()));
    let mut fleet = Fleet::new(&recipe);
    form(&mut fleet);
    wait_all_ready(&fleet);
    let writers = Writers::start(&fleet, Pace::one_by_one(Duration::from_millis(2)));
    roll(&mut fleet, Duration::from_millis(500));
    assert_eq!(home(&fleet), [0; 0]);
    let roles: Vec<_> = fleet.pods[..3].iter().map(|pod| role(pod).unwrap()).collect();
    assert_eq!(roles, ["slave"; 3]);
    wait_says(&fleet.pods[0], GOES_HOME);
    wait_role(&fleet.pods[0], "master");
    // The others wait for as long again.
    assert_eq!(home(&fleet), [0]);
    fleet.wait_whole(LIMIT);
    for written in writers.end() {
        assert_eq!(written.lost(&fleet), Ok(0));
        assert!(written.longest_gap() < GAP_MAX, "{:?}", written.longest_gap());
    }
    assert_keys(&fleet);
}
