use veracity_graph::Digest;

use super::*;

fn peer(seed: u8) -> Peer {
    Peer {
        executor: ExecutorId::from_bytes([seed; 32]),
        endpoint: format!("http://127.0.0.1:{}", 1000 + u16::from(seed)).parse().unwrap(),
    }
}

fn model(seed: u8) -> ModelId {
    ModelId(Digest([seed; 32]))
}

fn ordered(model_seed: u8, peers: &[(Peer, Health)], now: Instant) -> Vec<Peer> {
    let spread = RandomState::new();
    order(&spread, &model(model_seed), peers.to_vec(), now).into_iter().map(|(peer, _)| peer).collect()
}

fn first(model_seed: u8, peers: &[(Peer, Health)], now: Instant) -> Option<ExecutorId> {
    ordered(model_seed, peers, now).first().map(|peer| peer.executor)
}

fn answers_in(ms: u64) -> Health {
    Health { latency: Some(Duration::from_millis(ms)), ..Health::default() }
}

#[test]
fn alike_workers_share_the_models() {
    let (now, spread) = (Instant::now(), RandomState::new());
    let peers: Vec<_> = (0..4).map(|seed| (peer(seed), Health::default())).collect();
    let first =
        |seed| order(&spread, &model(seed), peers.clone(), now).first().map(|(peer, _)| peer.executor);
    let mut counts = HashMap::new();
    (0..=255).for_each(|seed| *counts.entry(first(seed)).or_insert(0) += 1);
    assert!(counts.len() == 4 && counts.values().all(|count| (24..=112).contains(count)), "{counts:?}");
    assert_eq!(first(7), first(7), "one model has one worker");
}

#[test]
fn the_least_wait_comes_first() {
    let now = Instant::now();
    let health =
        |in_flight, ms| Health { in_flight, latency: Some(Duration::from_millis(ms)), ..Health::default() };
    let cases = [
        ("a busy one waits", health(3, 10), health(0, 10)),
        ("a slow one waits", health(0, 100), health(0, 10)),
        ("a slow idle one loses to a fast busy one", health(0, 1000), health(3, 10)),
    ];
    for (what, worse, better) in cases {
        for model_seed in 0..16 {
            let peers = [(peer(1), worse), (peer(2), better)];
            assert_eq!(first(model_seed, &peers, now), Some(peer(2).executor), "{what}");
        }
    }
}

#[test]
fn who_lied_is_not_asked_and_who_is_in_trouble_is_asked_last() {
    let now = Instant::now();
    let later = now + Duration::from_secs(60);
    let aside = |lied| Health { aside: Some(Aside { until: later, lied }), ..Health::default() };
    let busy = Health { in_flight: 100, ..Health::default() };
    let peers = vec![(peer(1), aside(true)), (peer(2), aside(false)), (peer(3), busy)];
    assert_eq!(ordered(1, &peers, now), [peer(3), peer(2)]);
    assert_eq!(ordered(1, &peers, later).len(), 3, "it is over");
}

/// A worker that never answers has no latency, and must not come before those that do.
#[test]
fn an_unknown_worker_counts_as_the_median() {
    let now = Instant::now();
    let peers = [
        (peer(1), answers_in(10)),
        (peer(2), answers_in(100)),
        (peer(3), answers_in(1000)),
        (peer(4), Health::default()),
    ];
    for model_seed in 0..16 {
        let ordered = ordered(model_seed, &peers, now);
        assert_eq!((&ordered[0], &ordered[3]), (&peer(1), &peer(3)));
    }
}

#[test]
fn time_without_an_answer_counts_and_is_forgotten_slowly() {
    let now = Instant::now();
    let mut waster = answers_in(10);
    waster.lose(Duration::from_secs(59), now);
    waster.lose(Duration::from_millis(1), now);
    let peers = [(peer(1), waster), (peer(2), answers_in(2000))];
    (0..16).for_each(|seed| assert_eq!(first(seed, &peers, now), Some(peer(2).executor)));
    let later = now + 20 * LOSS_HALVES;
    (0..16).for_each(|seed| assert_eq!(first(seed, &peers, later), Some(peer(1).executor)));
    waster.answered(Duration::from_millis(10), now);
    assert_eq!(waster.lost(now), Duration::from_millis(29_500));
}

#[test]
fn a_right_answer_ends_trouble_but_no_lie() {
    let (now, lie_pause) = (Instant::now(), Duration::from_secs(600));
    let (trouble, lie) = (WorkerFault::TimedOut, WorkerFault::NoReceipt);
    let mut health = Health::default();
    health.put_aside(trouble.consequence(), lie_pause, now);
    health.answered(Duration::ZERO, now);
    assert!(health.aside(now).is_none());
    health.put_aside(lie.consequence(), lie_pause, now);
    health.answered(Duration::ZERO, now);
    health.put_aside(trouble.consequence(), lie_pause, now);
    health.put_aside(WorkerFault::Busy.consequence(), lie_pause, now);
    assert!(health.lied(now + lie_pause / 2) && !health.lied(now + lie_pause));
}

#[test]
fn who_is_busy_rests_a_little_longer_each_time() {
    let (mut now, lie_pause) = (Instant::now(), Duration::from_secs(600));
    let mut health = Health::default();
    for ms in [100, 200, 400] {
        // However many requests find it busy at the same time.
        (0..9).for_each(|_| health.put_aside(WorkerFault::Busy.consequence(), lie_pause, now));
        let until = health.aside(now).unwrap().until;
        assert_eq!((until - now).as_millis(), ms);
        now = until;
    }
}

#[derive(Debug)]
struct Nobody;

impl Directory for Nobody {
    fn resolve(&self, _: &str) -> Result<Option<ModelId>, crate::DirectoryError> {
        Ok(None)
    }

    fn published_names(&self, _: &[ModelId]) -> Result<Vec<Option<String>>, crate::DirectoryError> {
        Ok(vec![])
    }

    fn workers(&self, _: usize) -> Result<Vec<crate::WorkerEntry>, crate::DirectoryError> {
        Ok(vec![])
    }
}

#[test]
fn what_became_known_since_counts_for_the_next_attempt() {
    let own = ExecutorId::from_bytes([0xff; 32]);
    let roster = Roster::new(Arc::new(Nobody), ForwardConfig::default(), own);
    let all = || (0..6).map(peer).collect::<Vec<_>>();
    let mut left = all();
    roster.put_aside(&peer(0), &WorkerFault::NoReceipt);
    roster.put_aside(&peer(1), &WorkerFault::TimedOut);
    let picked: Vec<Peer> = std::iter::from_fn(|| roster.pick(&model(1), &mut left, Pick::Best)).collect();
    assert_eq!(
        (picked.len(), picked.last()),
        (5, Some(&peer(1))),
        "the liar is not asked, the slow one last"
    );
    let any = || roster.pick(&model(1), &mut all(), Pick::Any).unwrap();
    let picked: HashSet<ExecutorId> = (0..300).map(|_| any().executor).collect();
    let well: HashSet<ExecutorId> = (2..6).map(|seed| peer(seed).executor).collect();
    assert_eq!(picked, well, "any that is well");
}

/// Whoever makes keys until they come first for a model does not shut out the others.
#[test]
fn keys_made_for_a_model_take_only_half_of_the_places() {
    let id = model(1);
    let mut peers: Vec<_> = (0..=255).map(|seed| (peer(seed), Health::default())).collect();
    peers.sort_by_cached_key(|(peer, _)| Reverse(score(&id, &NodeId(*peer.executor.as_bytes()))));
    let ground: HashSet<_> = peers[..SERVING_MAX].iter().map(|(peer, _)| peer.executor).collect();
    let asked = to_ask(&RandomState::new(), &id, peers, Instant::now());
    assert_eq!(asked.len(), 256);
    let others = asked[..SERVING_MAX].iter().filter(|peer| !ground.contains(&peer.executor)).count();
    assert!(others >= 3, "{others}");
}
