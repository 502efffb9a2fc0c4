//! Ceremonies in the simulator: the same code as on real machines, with simulated time, network and disks.

mod world;

use std::{collections::BTreeSet, time::Duration};

use alloy_primitives::B256;
use commonware_codec::Encode as _;
use commonware_cryptography::bls12381::{
    dkg::feldman_desmedt::deal,
    primitives::{group::Share, ops, ops::threshold, sharing::Mode, sharing::Sharing, variant::MinSig},
};
use commonware_p2p::simulated::Link;
use commonware_parallel::Sequential;
use commonware_runtime::Clock as _;
use commonware_utils::{N3f1, TestRng, ordered::Set, probability};
use veracity_ceremony::{Failed, Outcome, Step};
use veracity_consensus::{EpochInfo, NAMESPACE, PublicKey, Scheme};
use world::{FAST, World, simulate};

const MESSAGE: &[u8] = b"something to sign";

/// A network that loses a quarter of all messages.
const LOSSY: Link = Link {
    latency: Duration::from_millis(60),
    jitter: Duration::from_millis(20),
    success_rate: probability!(0.75),
};
/// A way across the world.
const FAR: Link = Link {
    latency: Duration::from_millis(300),
    jitter: Duration::from_millis(30),
    success_rate: probability!(1.0),
};

/// All founders have the same, which is a key that a quorum of the shares sign for and fewer do not.
#[track_caller]
fn check(outcomes: &[Option<Outcome>], revealed: &[PublicKey]) -> EpochInfo {
    let outcomes: Vec<&Outcome> =
        outcomes.iter().map(|outcome| outcome.as_ref().expect("all have it")).collect();
    let info = outcomes[0].info.clone();
    let mut shares = vec![];
    for outcome in &outcomes {
        assert!(outcome.info == info, "all have the same");
        let share = outcome.share.clone().expect("each has a share");
        let public = info.output.public();
        assert_eq!(
            public.partial_public(share.index).expect("there is such a place"),
            share.public::<MinSig>()
        );
        let scheme = Scheme::signer(NAMESPACE, info.output.players().clone(), public.clone(), share.clone());
        assert!(scheme.is_some(), "consensus takes the share");
        shares.push(share);
    }
    let places: BTreeSet<u32> = shares.iter().map(|share| share.index.get()).collect();
    assert_eq!(places.len(), shares.len(), "each has a share of its own");
    assert_eq!(info.next_players, info.players, "the founders are elected until somebody else is");
    assert_eq!(*info.output.revealed(), Set::from_iter_dedup(revealed.iter().cloned()));
    sign(&info, &shares);
    info
}

/// Any quorum of shares signs for the network key; what fewer of them make is no signature.
fn sign(info: &EpochInfo, shares: &[Share]) {
    let public = info.output.public();
    let quorum = shares.len() - (shares.len() - 1) / 3;
    assert_eq!(usize::try_from(public.required()), Ok(quorum));
    for set in 0u32..1 << shares.len() {
        let chosen = shares.iter().enumerate().filter(|(place, _)| set >> place & 1 == 1);
        let partials: Vec<_> =
            chosen.map(|(_, share)| threshold::sign_message::<MinSig>(share, NAMESPACE, MESSAGE)).collect();
        let recovered = threshold::recover(public, &partials, &Sequential);
        if partials.len() < quorum {
            assert!(recovered.is_err(), "{set:b}");
            continue;
        }
        let signature = recovered.expect("they are enough");
        let verified = ops::verify_message::<MinSig>(public.public(), NAMESPACE, MESSAGE, &signature);
        assert!(verified.is_ok(), "{set:b}");
    }
    // The library may refuse what somebody else would try: to join fewer as if they were enough.
    let mut sorted = shares.to_vec();
    sorted.sort_by_key(|share| share.index);
    // Of up to three all are needed; of more the library makes no sharing that needs all.
    for count in 2..=quorum.min(3) {
        let partials =
            sorted[..count].iter().map(|share| threshold::sign_message::<MinSig>(share, NAMESPACE, MESSAGE));
        let partials: Vec<_> = partials.collect();
        let signature = threshold::recover(&all_needed(info, count), &partials, &Sequential).expect("joined");
        let verified = ops::verify_message::<MinSig>(public.public(), NAMESPACE, MESSAGE, &signature);
        assert_eq!(verified.is_ok(), count == quorum, "{count} of {quorum}");
    }
}

/// The sharing of another key among as many as are all needed, which joins points in the same way.
fn all_needed(info: &EpochInfo, count: usize) -> Sharing<MinSig> {
    let players = Set::from_iter_dedup(info.output.players().iter().take(count).cloned());
    let (output, _) =
        deal::<MinSig, _, N3f1>(TestRng::new(3), Mode::NonZeroCounter, players).expect("there are players");
    assert_eq!(usize::try_from(output.public().required()), Ok(count));
    output.public().clone()
}

#[test]
fn founders_make_one_key_that_none_of_them_has() {
    let mut keys = BTreeSet::new();
    for (seed, founders) in [(0, 4), (2, 2), (3, 7)] {
        simulate(seed, async |context| {
            let mut world = World::new(&context, founders, 0, FAST).await;
            for founder in 0..founders {
                world.start(founder).await;
            }
            for founder in 0..founders {
                world.end(founder).await.expect("all are there");
            }
            let info = check(&world.outcomes(), &[]);
            assert!(
                keys.insert(info.output.public().public().encode().to_vec()),
                "each ceremony has a key of its own"
            );
        });
    }
}

#[test]
fn a_distant_founder_has_time_to_answer() {
    simulate(0, async |context| {
        let mut world = World::new(&context, 4, 0, FAST).await;
        for other in 0..3 {
            world.link(3, other, FAR).await;
        }
        for founder in 0..4 {
            world.start(founder).await;
        }
        for founder in 0..4 {
            world.end(founder).await.expect("its share is not revealed");
        }
        check(&world.outcomes(), &[]);
    });
}

#[test]
fn lost_messages_change_nothing() {
    for seed in 0..2 {
        simulate(seed, async |context| {
            let mut world = World::new(&context, 4, 1, LOSSY).await;
            for founder in 0..4 {
                world.start(founder).await;
            }
            for founder in 0..4 {
                world.end(founder).await.expect("messages are sent again");
            }
            let outcomes = world.outcomes();
            let revealed: Vec<PublicKey> = outcomes[0]
                .iter()
                .flat_map(|outcome| outcome.info.output.revealed().iter().cloned())
                .collect();
            check(&outcomes, &revealed);
        });
    }
}

#[test]
fn nothing_begins_without_one_who_must_be_there() {
    simulate(0, async |context| {
        let mut world = World::new(&context, 4, 0, FAST).await;
        for founder in 0..3 {
            world.start(founder).await;
        }
        context.sleep(Duration::from_secs(600)).await;
        for founder in 0..3 {
            let progress = world.progress(founder);
            assert_eq!(progress.step, Step::Gathering);
            assert_eq!(progress.others[&world.key(3)], None, "it is missed");
            assert_eq!(progress.others.values().flatten().count(), 2);
        }
        world.start(3).await;
        for founder in 0..4 {
            world.end(founder).await.expect("now all are there");
        }
        check(&world.outcomes(), &[]);
    });
}

#[test]
fn one_who_may_be_absent_is_waited_for_and_gets_its_share_later() {
    simulate(0, async |context| {
        let mut world = World::new(&context, 4, 1, FAST).await;
        for founder in 0..3 {
            world.start(founder).await;
        }
        context.sleep(Duration::from_secs(50)).await;
        assert!((0..3).all(|founder| world.progress(founder).step == Step::Ready), "they wait a minute");
        context.sleep(Duration::from_secs(60)).await;
        for founder in 0..3 {
            let progress = world.progress(founder);
            assert!(matches!(progress.step, Step::Ended(_)), "{progress:?}");
            assert_eq!(progress.others[&world.key(3)], None);
        }
        context.sleep(Duration::from_secs(100)).await;
        assert!(world.outcomes()[..3].iter().all(Option::is_some));
        // The others still serve it.
        world.start(3).await;
        for founder in 0..4 {
            world.end(founder).await.expect("one may be absent");
        }
        check(&world.outcomes(), &[world.public_key(3)]);
    });
}

/// Whenever one is stopped: it goes on, and all have the same, or all refuse because its share became known. It is stopped
/// when the others begin, being told that it is ready, or some milliseconds after its start.
#[test]
fn one_that_is_stopped_and_started_again_goes_on() {
    let mut refused = 0;
    for (seed, after_ms) in [None, Some(800), Some(2500)].into_iter().enumerate() {
        for (absent_max, away_s) in [(0, 0), (0, 20), (1, 20)] {
            simulate(seed as u64, async |context| {
                let mut world = World::new(&context, 4, absent_max, FAST).await;
                // It is the first to be ready.
                for founder in [3, 0, 1, 2] {
                    world.start(founder).await;
                }
                match after_ms {
                    Some(after_ms) => context.sleep(Duration::from_millis(after_ms)).await,
                    None => world.until_ready(3).await,
                }
                world.crash(3).await;
                let had_ended = world.records(3) > 0;
                context.sleep(Duration::from_secs(away_s)).await;
                world.start(3).await;
                let mut ends = vec![];
                for founder in 0..if had_ended { 3 } else { 4 } {
                    ends.push(world.end(founder).await);
                }
                if had_ended {
                    // The others may be gone: it has all that it needs.
                    let end = world.end(3).await;
                    assert!(matches!(end, Ok(()) | Err(Failed::Alone)), "{end:?}");
                    assert_eq!(world.records(3), 2);
                }
                if ends.iter().all(Result::is_ok) {
                    let outcomes = world.outcomes();
                    let info = &outcomes[0].as_ref().expect("all have it").info;
                    let revealed: Vec<PublicKey> = info.output.revealed().iter().cloned().collect();
                    assert!(revealed.is_empty() || (absent_max == 1 && revealed == [world.public_key(3)]));
                    check(&outcomes, &revealed);
                    return;
                }
                assert_eq!((absent_max, away_s), (0, 20), "after {after_ms:?} ms: {ends:?}");
                for end in ends {
                    let Err(Failed::Revealed { founders, allowed: 0 }) = end else { panic!("{end:?}") };
                    assert_eq!(founders, [world.key(3)], "all say whose share is known");
                }
                assert!(world.outcomes().iter().all(Option::is_none), "no network begins with that");
                refused += 1;
            });
        }
    }
    assert!(refused > 0, "one of them is not there while shares are dealt");
}

#[test]
fn all_are_stopped_and_go_on() {
    for (seed, after_ms) in [1300, 2400].into_iter().enumerate() {
        simulate(seed as u64, async |context| {
            let mut world = World::new(&context, 4, 1, FAST).await;
            for round in 0..3 {
                for founder in 0..4 {
                    world.start(founder).await;
                }
                if round < 2 {
                    context.sleep(Duration::from_millis(after_ms)).await;
                    for founder in 0..4 {
                        world.crash(founder).await;
                    }
                }
            }
            for founder in 0..4 {
                world.end(founder).await.expect("nothing that was seen is lost");
            }
            let outcomes = world.outcomes();
            let info = &outcomes[0].as_ref().expect("all have it").info;
            let revealed: Vec<PublicKey> = info.output.revealed().iter().cloned().collect();
            check(&outcomes, &revealed);
        });
    }
}

/// One that ended gets the same when it runs again; one that cannot record what it got gets it again, too.
#[test]
fn the_outcome_is_recorded_again_after_each_start() {
    simulate(0, async |context| {
        let mut world = World::new(&context, 4, 0, FAST).await;
        world.refuse_records(2);
        for founder in 0..4 {
            world.start(founder).await;
        }
        let failed = world.end(2).await;
        assert!(matches!(failed, Err(Failed::Record(_))), "{failed:?}");
        context.sleep(Duration::from_secs(30)).await;
        assert!(
            !matches!(world.progress(0).others[&world.key(2)], Some(Step::Ended(_))),
            "it did not say so"
        );
        world.start(2).await;
        for founder in 0..4 {
            world.end(founder).await.expect("now it can");
        }
        let outcomes = world.outcomes();
        let info = check(&outcomes, &[]);
        let before = outcomes[1].clone().expect("it has it");
        world.start(1).await;
        let end = world.end(1).await;
        assert!(matches!(end, Err(Failed::Alone)), "it does not wait for the others for ever: {end:?}");
        assert_eq!(world.records(1), 2);
        let again = world.outcomes()[1].clone().expect("it has it again");
        assert!(again.info == info && again.share == before.share);
    });
}

#[test]
fn one_that_sends_garbage_is_as_one_that_is_away() {
    simulate(0, async |context| {
        let mut world = World::new(&context, 4, 1, FAST).await;
        for founder in 0..3 {
            world.start(founder).await;
        }
        world.garbage(3).await;
        context.sleep(Duration::from_secs(120)).await;
        let outcomes = world.outcomes();
        assert!(outcomes[3].is_none());
        let info = outcomes[0].clone().expect("three are enough").info;
        assert_eq!(*info.output.revealed(), Set::from_iter_dedup([world.public_key(3)]));
        for outcome in &outcomes[..3] {
            let outcome = outcome.as_ref().expect("three are enough");
            assert!(outcome.info == info && outcome.share.is_some());
        }
        let shares: Vec<Share> = outcomes[..3].iter().flatten().filter_map(|o| o.share.clone()).collect();
        let partials: Vec<_> =
            shares.iter().map(|share| threshold::sign_message::<MinSig>(share, NAMESPACE, MESSAGE)).collect();
        let public = info.output.public();
        let signature = threshold::recover(public, &partials, &Sequential).expect("they are enough");
        ops::verify_message::<MinSig>(public.public(), NAMESPACE, MESSAGE, &signature).expect("they sign");
    });
}

/// The same seed gives the same run, and a plan of its own to each ceremony another key.
#[test]
fn a_run_can_be_repeated() {
    let key = |seed| {
        let mut key = B256::ZERO;
        simulate(seed, async |context| {
            let mut world = World::new(&context, 2, 0, FAST).await;
            for founder in 0..2 {
                world.start(founder).await;
            }
            for founder in 0..2 {
                world.end(founder).await.expect("all are there");
            }
            key = B256::from_slice(&check(&world.outcomes(), &[]).output.public().public().encode()[..32]);
        });
        key
    };
    assert_eq!(key(5), key(5));
    assert_ne!(key(5), key(6));
}
