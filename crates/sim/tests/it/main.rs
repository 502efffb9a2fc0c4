//! The network keeps its promises whatever goes wrong: `run` fails if validators disagree, a transaction is lost or
//! executed twice, or the chain does not go on. A failure prints the scenario and the seed that repeats it.

use veracity_sim::{Scenario, run};

const SEEDS: u64 = 3;

fn holds(scenario: Scenario) {
    for seed in 0..SEEDS {
        let report = run(scenario, seed, 4).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(report.height > 0);
    }
}

macro_rules! scenarios {
    ($($name:ident $scenario:ident)*) => {
        $(#[test]
        fn $name() {
            holds(Scenario::$scenario);
        })*
    };
}

/// Nor does the network stand still when an epoch begins, where validators do not know yet who is there.
#[test]
fn nothing_happens() {
    for seed in 0..SEEDS {
        let report = run(Scenario::Calm, seed, 4).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(report.signers.len() > 2, "it is in its third epoch: {report:?}");
        assert!(report.pause_max.as_secs() < 1, "no round is given up: {report:?}");
    }
}

scenarios! {
    messages_are_slow Slow
    messages_are_lost Lossy
    disks_fail Disks
    one_joins_late Late
    one_withholds_everything Withholds
    one_sends_garbage Garbage
    one_replays Replays
    one_votes_for_everything Equivocates
    one_names_another_state Target
}

#[test]
fn validators_crash() {
    for seed in 0..SEEDS {
        let report = run(Scenario::Crashes, seed, 4).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(report.crashes > 3, "{report:?}");
    }
}

#[test]
fn all_validators_crash() {
    for seed in 0..SEEDS {
        let report = run(Scenario::Outage, seed, 4).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(report.crashes, 4, "{report:?}");
    }
}

#[test]
fn a_partition_stops_the_network_and_then_it_goes_on() {
    for seed in 0..SEEDS {
        let report = run(Scenario::Partition, seed, 4).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(
            report.pause_max.as_secs() >= 19,
            "nothing is decided while neither half has a quorum: {report:?}"
        );
    }
}

/// A block whose time has not come costs its leader the round, and is never final (`run` fails otherwise).
#[test]
fn a_wrong_clock_costs_rounds_only() {
    for seed in 0..SEEDS {
        let report = run(Scenario::Clock, seed, 4).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(report.pause_max.as_secs() < 30, "{report:?}");
    }
}

/// Validator 3 reaches one other only. Of four founders it would need two; it was told of one, whom it believes.
#[test]
fn one_joins_through_whom_it_was_told_of() {
    for seed in 0..SEEDS {
        let report = run(Scenario::Told, seed, 4).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(report.committee, [0, 1, 2, 3], "{report:?}");
    }
}

/// Validator 4 bonds and joins, 3 leaves; while 0 is away, the votes of 4 are needed.
#[test]
fn validators_change() {
    for seed in 0..SEEDS {
        let report = run(Scenario::Changes, seed, 4).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(report.committee, [0, 1, 2, 4], "{report:?}");
        assert!(report.pause_max.as_secs() < 15, "the others go on: {report:?}");
    }
}

/// Validator 3 begins after the election of 4, with a state that cannot be asked any more whom its middle block elected. It
/// waits for the block that says so, and has the share that is needed when 0 is away three epochs later. One that takes
/// those for elected who were elected before would have another list, and none.
#[test]
fn a_missed_election_is_not_guessed() {
    for seed in 0..SEEDS {
        let report = run(Scenario::Missed, seed, 4).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(report.committee, [0, 1, 2, 3, 4], "{report:?}");
        assert!(report.pause_max.as_secs() < 15, "the others go on: {report:?}");
    }
}

/// A follower with an upstream that forges certificates, is of another network, gives other blocks or other heights,
/// changes or cuts the state, is stale, floods, babbles, hangs or is not there, and with one that is honest: it drops
/// those that lie, has the blocks of the network and no other (`run` fails otherwise), and goes on where it was after it
/// was away.
#[test]
fn followers_are_not_deceived() {
    for seed in 0..SEEDS {
        let report = run(Scenario::Followed, seed, 4).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(report.height > 50, "{report:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for scenario in [Scenario::Calm, Scenario::Crashes] {
        let [first, again, other] = [5, 5, 6].map(|seed| run(scenario, seed, 4).expect("it holds"));
        assert_eq!(first, again);
        assert_ne!(first.history, other.history);
    }
}

#[test]
fn one_validator_is_a_network() {
    let report = run(Scenario::Calm, 0, 1).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(report.height > 0);
}
