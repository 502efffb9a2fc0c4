//! The quota against a naive model.

use std::collections::BTreeSet;

use proptest::prelude::*;
use veracity_graph::{Digest, ModelId};
use veracity_hosting::{Quota, ReserveError, Slot};

const LIMIT: u64 = 100;

#[derive(Debug, Clone)]
enum Op {
    Add { model: u8, size_bytes: u64, kept: BTreeSet<u8> },
    Touch { model: u8, now_s: u64 },
    Release { model: u8 },
}

fn id(n: u8) -> ModelId {
    ModelId(Digest([n; 32]))
}

fn op() -> impl Strategy<Value = Op> {
    let model = 0u8..12;
    prop_oneof![
        4 => (model.clone(), 0..120u64, prop::collection::btree_set(model.clone(), 0..4))
            .prop_map(|(model, size_bytes, kept)| Op::Add { model, size_bytes, kept }),
        2 => (model.clone(), 0..50u64).prop_map(|(model, now_s)| Op::Touch { model, now_s }),
        1 => model.prop_map(|model| Op::Release { model }),
    ]
}

/// A list of model, size, last use.
type Naive = Vec<(u8, u64, u64)>;

fn used(naive: &Naive) -> u64 {
    naive.iter().map(|(_, size, _)| size).sum()
}

/// The shortest beginning of the list by last use whose absence makes room.
fn naive_victims(naive: &Naive, size_bytes: u64, kept: &BTreeSet<u8>) -> Option<Vec<u8>> {
    let mut order: Vec<_> = naive.iter().filter(|(model, ..)| !kept.contains(model)).collect();
    order.sort_by_key(|(model, _, used_s)| (*used_s, *model));
    (0..=order.len()).find_map(|n| {
        let gone: u64 = order[..n].iter().map(|(_, size, _)| size).sum();
        (used(naive) - gone + size_bytes <= LIMIT)
            .then(|| order[..n].iter().map(|(model, ..)| *model).collect())
    })
}

proptest! {
    #[test]
    fn least_recently_used_models_make_room(ops in prop::collection::vec(op(), 0..60)) {
        let mut quota = Quota::new(LIMIT);
        let mut naive = Naive::new();
        for (now_s, op) in (0u64..).zip(ops) {
            match op {
                Op::Add { model, size_bytes, kept } => {
                    let kept_ids = kept.iter().map(|n| id(*n)).collect();
                    let before = quota.clone();
                    let found = quota.victims(&id(model), size_bytes, &kept_ids);
                    prop_assert_eq!(before.slots(), quota.slots(), "asking changes nothing");
                    if naive.iter().any(|(m, ..)| *m == model) {
                        prop_assert_eq!(found, Ok(Vec::new()), "what is in needs no room");
                        continue;
                    }
                    match naive_victims(&naive, size_bytes, &kept) {
                        Some(victims) => {
                            prop_assert_eq!(found, Ok(victims.iter().map(|n| id(*n)).collect()));
                            for victim in &victims {
                                quota.release(&id(*victim));
                            }
                            naive.retain(|(m, ..)| !victims.contains(m));
                            let fits = quota.reserve(id(model), Slot { size_bytes, used_s: now_s });
                            prop_assert!(fits);
                            naive.push((model, size_bytes, now_s));
                        }
                        None if size_bytes > LIMIT => {
                            prop_assert_eq!(found, Err(ReserveError::AboveLimit { size_bytes, limit_bytes: LIMIT }));
                        }
                        None => {
                            let no_room = matches!(found, Err(ReserveError::NoRoom { .. }));
                            prop_assert!(no_room);
                        }
                    }
                }
                Op::Touch { model, now_s } => {
                    quota.touch(&id(model), now_s);
                    for entry in naive.iter_mut().filter(|(m, ..)| *m == model) {
                        entry.2 = entry.2.max(now_s);
                    }
                }
                Op::Release { model } => {
                    quota.release(&id(model));
                    naive.retain(|(m, ..)| *m != model);
                }
            }
            prop_assert_eq!(quota.used_bytes(), used(&naive));
            prop_assert!(quota.used_bytes() <= LIMIT);
        }
    }
}

#[test]
fn a_lowered_limit_lets_nothing_in_until_enough_is_gone() {
    let mut quota = Quota::new(10);
    quota.restore(id(1), Slot { size_bytes: 30, used_s: 0 });
    quota.restore(id(2), Slot { size_bytes: 5, used_s: 1 });
    assert!(!quota.reserve(id(3), Slot { size_bytes: 0, used_s: 2 }));
    assert_eq!(quota.victims(&id(3), 5, &BTreeSet::new()), Ok(vec![id(1)]));
    let kept = BTreeSet::from([id(1)]);
    let error = quota.victims(&id(3), 5, &kept).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the model has 5 bytes, 0 are free in the quota with all evicted that may be; raise the quota or remove a name"
    );
    let error = quota.victims(&id(3), 11, &kept).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the model has 11 bytes, the quota for hosted models is 10; raise it to host the model"
    );
}
