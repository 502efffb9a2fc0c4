//! Nodes that decide alone, over one registry.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use veracity_graph::{Bundle, ModelId, Part};
use veracity_hosting::{
    Client, Fault, FetchConfig, FetchError, Host, Hosting, HostingConfig, HostingError, Maintainer, NodeId,
    Published, Registry, RegistryError, RoomError, Tick, TickError, holders, pull,
};
use veracity_store::Store;

use crate::{
    cheats,
    fixture::{bundle, wide_bundle},
    network::{Node, client, config, size_bytes},
};

/// The registry that all see.
#[derive(Default)]
struct Shared {
    models: Vec<Published>,
    hosts: BTreeMap<ModelId, BTreeSet<NodeId>>,
    endpoints: BTreeMap<NodeId, String>,
    candidates: Vec<NodeId>,
    k: usize,
    /// Calls that fail.
    broken: BTreeSet<&'static str>,
}

/// As one node sees it.
struct Seen {
    shared: Arc<Mutex<Shared>>,
    node: NodeId,
}

impl Seen {
    fn on<T>(&self, call: &'static str, f: impl FnOnce(&mut Shared) -> T) -> Result<T, RegistryError> {
        let mut shared = self.shared.lock().unwrap();
        match shared.broken.contains(call) {
            true => Err(RegistryError::Unavailable("out of order".into())),
            false => Ok(f(&mut shared)),
        }
    }
}

impl Registry for Seen {
    fn resolve(&self, name: &str, _: Option<&str>) -> Result<ModelId, RegistryError> {
        Err(RegistryError::UnknownName { name: name.to_owned() })
    }

    fn model(&self, id: &ModelId) -> Result<Published, RegistryError> {
        let found = self.on("model", |s| s.models.iter().find(|m| m.id == *id).copied())?;
        found.ok_or(RegistryError::UnknownModel { id: *id })
    }

    fn models(&self, offset: u64, count: usize) -> Result<Vec<Published>, RegistryError> {
        let skip = usize::try_from(offset).unwrap();
        self.on("models", |s| s.models.iter().skip(skip).take(count).copied().collect())
    }

    fn hosts(&self, id: &ModelId) -> Result<Vec<Host>, RegistryError> {
        self.on("hosts", |s| {
            let nodes = s.hosts.get(id).into_iter().flatten();
            nodes.map(|node| Host { node: *node, endpoint: s.endpoints[node].clone() }).collect()
        })
    }

    fn candidates(&self) -> Result<Vec<NodeId>, RegistryError> {
        self.on("candidates", |s| s.candidates.clone())
    }

    fn hosts_per_model(&self) -> Result<usize, RegistryError> {
        self.on("hosts_per_model", |s| s.k)
    }

    fn announce(&self, id: &ModelId) -> Result<(), RegistryError> {
        self.on("announce", |s| s.hosts.entry(*id).or_default().insert(self.node)).map(drop)
    }

    fn retract(&self, id: &ModelId) -> Result<(), RegistryError> {
        self.on("retract", |s| s.hosts.entry(*id).or_default().remove(&self.node)).map(drop)
    }
}

struct Member {
    node: Node,
    maintainer: Maintainer,
    seen: Seen,
}

impl Member {
    fn tick(&mut self, now_s: u64) -> Tick {
        self.maintainer.tick(&self.seen, now_s, &()).unwrap()
    }

    fn id(&self) -> NodeId {
        self.seen.node
    }

    fn holds(&self, id: &ModelId) -> bool {
        self.node.hosting.offers(id) && self.node.hosting.store().get(id).is_ok()
    }
}

struct Network {
    shared: Arc<Mutex<Shared>>,
    members: Vec<Member>,
}

impl Network {
    fn new(n_nodes: u8, k: usize, quota_bytes: u64) -> Self {
        let shared = Arc::new(Mutex::new(Shared { k, ..Shared::default() }));
        let members = (1..=n_nodes).map(|n| {
            let node = Node::new(n, HostingConfig::with_quota(quota_bytes));
            let id = node.source.node;
            let mut inner = shared.lock().unwrap();
            inner.candidates.push(id);
            inner.endpoints.insert(id, node.source.endpoint.to_string());
            let maintainer = Maintainer::new(Arc::clone(&node.hosting), client(), id);
            Member { node, maintainer, seen: Seen { shared: Arc::clone(&shared), node: id } }
        });
        let members = members.collect();
        Self { shared, members }
    }

    fn publish(&self, bundle: &Bundle) -> ModelId {
        let published = Published { id: bundle.model_id(), size_bytes: size_bytes(bundle), own: false };
        self.shared.lock().unwrap().models.push(published);
        published.id
    }

    /// Publishes and offers a model on the first node.
    fn push(&self, bundle: &Bundle) -> ModelId {
        self.members[0].node.own(bundle);
        self.publish(bundle)
    }

    fn tick(&mut self, now_s: u64) -> Vec<Tick> {
        self.members.iter_mut().map(|member| member.tick(now_s)).collect()
    }

    fn holders(&self, id: &ModelId) -> Vec<NodeId> {
        let shared = self.shared.lock().unwrap();
        holders(id, &shared.candidates, shared.k)
    }

    fn announced(&self, id: &ModelId) -> BTreeSet<NodeId> {
        self.shared.lock().unwrap().hosts.get(id).cloned().unwrap_or_default()
    }

    /// A node other than the first that is, or is not, a holder of a model.
    fn member(&mut self, id: &ModelId, holder: bool) -> &mut Member {
        let holders = self.holders(id);
        let members = self.members.iter_mut().skip(1);
        members.into_iter().find(|m| holders.contains(&m.id()) == holder).unwrap()
    }
}

#[test]
fn a_pushed_model_gets_its_holders() {
    let mut network = Network::new(6, 3, 1 << 30);
    let models: Vec<_> = (1..=4).map(|seed| network.push(&wide_bundle(seed))).collect();
    network.tick(1);
    for id in &models {
        let mut expected: BTreeSet<_> = network.holders(id).into_iter().collect();
        // The owner offers its own as well.
        expected.insert(network.members[0].id());
        assert_eq!(network.announced(id), expected);
        for member in &network.members {
            assert_eq!(member.holds(id), expected.contains(&member.id()));
        }
    }
    for tick in network.tick(2) {
        assert!(tick.announced.is_empty() && tick.retracted.is_empty() && tick.fetched.is_empty());
        assert!(tick.failed.is_empty() && tick.evicted.is_empty());
    }
    // A node without the model finds hosts and fetches it.
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let seen = &network.members[5].seen;
    for id in &models {
        assert_eq!(pull(&client(), &store, seen, *id, 1 << 30, &()).unwrap(), *id);
        store.get(id).unwrap();
    }
    let unknown = bundle(9).model_id();
    let error = pull(&client(), &store, seen, unknown, 1 << 30, &()).unwrap_err();
    assert!(
        matches!(error, FetchError::Room(RoomError::Registry(RegistryError::UnknownModel { .. }))),
        "{error}"
    );
}

#[test]
fn what_was_withdrawn_is_not_offered_again() {
    let mut network = Network::new(2, 2, 1 << 30);
    let id = network.push(&bundle(1));
    let owner = network.members[0].id();
    network.tick(1);
    network.members[0].node.hosting.withdraw(&id).unwrap();
    assert_eq!(network.members[0].tick(2).retracted, [id]);
    assert_eq!(network.members[0].tick(3).announced, []);
    assert!(!network.announced(&id).contains(&owner));
    network.members[0].node.hosting.offer(&id).unwrap();
    assert_eq!(network.members[0].tick(4).announced, [id]);
    // What its owner has and did not offer is offered when it is his duty.
    let other = network.publish(&bundle(2));
    network.members[1].node.hosting.store().put(&bundle(2), None).unwrap();
    let tick = network.members[1].tick(5);
    assert_eq!((tick.announced, tick.fetched), (vec![other], Vec::new()));
    assert_eq!(network.members[1].node.hosting.used_bytes(), size_bytes(&bundle(1)));
}

#[test]
fn few_nodes_hold_all() {
    let mut network = Network::new(2, 3, 1 << 30);
    let id = network.push(&bundle(1));
    network.tick(1);
    assert_eq!(network.announced(&id).len(), 2);
}

#[test]
fn the_next_steps_in_for_a_holder_that_is_away() {
    let mut network = Network::new(5, 2, 1 << 30);
    let id = network.push(&bundle(1));
    let ranked = veracity_hosting::ranking(&id, &network.shared.lock().unwrap().candidates);
    let place = |member: &Member| ranked.iter().position(|node| *node == member.id()).unwrap();
    // The nearest node that is not the owner never ticks.
    let absent = ranked[..2].iter().find(|node| **node != network.members[0].id()).copied().unwrap();
    let mut ticks = 0;
    while network.announced(&id).len() < 2 || ticks < 5 {
        for member in network.members.iter_mut().filter(|m| m.seen.node != absent) {
            member.tick(ticks);
        }
        ticks += 1;
        assert!(ticks < 20, "nobody steps in");
    }
    let in_place: BTreeSet<_> = network.members.iter().filter(|m| m.holds(&id)).map(place).collect();
    let absent_place = ranked.iter().position(|node| *node == absent).unwrap();
    assert!(!in_place.contains(&absent_place));
    assert!(
        in_place.iter().all(|place| *place < 4 || *place == self_place(&network, &ranked)),
        "{in_place:?}"
    );
}

/// A host that is announced and dead for ever is replaced.
#[test]
fn the_next_steps_in_for_a_host_that_died() {
    let mut network = Network::new(5, 2, 1 << 30);
    let owner = network.members[0].id();
    let ranked = |seed| {
        let candidates = &network.shared.lock().unwrap().candidates;
        veracity_hosting::ranking(&bundle(seed).model_id(), candidates)
    };
    // The owner is the last one, so it is no holder's duty that it fulfils.
    let seed = (1..).find(|seed| ranked(*seed)[4] == owner).unwrap();
    let ranked = ranked(seed);
    let id = network.push(&bundle(seed));
    network.tick(0);
    let dead = ranked[0];
    let at = network.members.iter().position(|member| member.id() == dead).unwrap();
    let stays = network.announced(&id);
    for tick in 1..10 {
        let ticks = network.tick(tick);
        assert!(ticks.iter().all(|tick| tick.fetched.is_empty()), "all hosts answer: {ticks:?}");
    }
    network.members.remove(at).node.runtime.shutdown_background();
    let mut ticks = 10;
    while network.announced(&id) == stays {
        network.tick(ticks);
        ticks += 1;
        assert!(ticks < 30, "nobody steps in");
    }
    let new: Vec<_> = network.announced(&id).difference(&stays).copied().collect();
    assert_eq!(new, [ranked[2]], "the next in rank");
    assert!(network.announced(&id).contains(&dead), "only its operator retracts");
}

/// What its operator publishes is offered by the node that has it, whatever its rank, and after a restart.
#[test]
fn what_the_operator_published_is_own() {
    let mut network = Network::new(3, 1, 0);
    let own = |id: &ModelId| Published { id: *id, size_bytes: size_bytes(&bundle(1)), own: true };
    let id = bundle(1).model_id();
    let author = network.members.iter().position(|m| !network.holders(&id).contains(&m.id())).unwrap();
    network.members[author].node.hosting.store().put(&bundle(1), None).unwrap();
    assert_eq!(network.members[author].tick(1).offered, []);
    network.shared.lock().unwrap().models.push(own(&id));
    let tick = network.members[author].tick(2);
    assert_eq!((tick.offered, tick.announced), (vec![id], vec![id]));
    assert!(network.members[author].node.hosting.is_own(&id));
    assert_eq!(network.members[author].node.hosting.used_bytes(), 0);
    assert_eq!(network.members[author].tick(3).offered, []);
    // Withdrawn, it stays withdrawn.
    network.members[author].node.hosting.withdraw(&id).unwrap();
    let tick = network.members[author].tick(4);
    assert_eq!((tick.offered, tick.announced, tick.retracted), (vec![], vec![], vec![id]));
    // The others have not got it.
    let other = (author + 1) % 3;
    assert_eq!(network.members[other].tick(5).offered, []);
}

fn self_place(network: &Network, ranked: &[NodeId]) -> usize {
    ranked.iter().position(|node| *node == network.members[0].id()).unwrap()
}

#[test]
fn what_is_unused_makes_room_and_is_retracted_first() {
    let bundles: Vec<_> = (1..=3).map(wide_bundle).collect();
    let size = size_bytes(&bundles[0]);
    let mut network = Network::new(2, 2, 2 * size);
    let ids: Vec<_> = bundles.iter().map(|bundle| network.push(bundle)).collect();
    network.shared.lock().unwrap().models.truncate(2);
    network.tick(1);
    let host = &mut network.members[1];
    assert!(host.holds(&ids[0]) && host.holds(&ids[1]));
    assert_eq!(host.node.hosting.used_bytes(), 2 * size);

    // All three are its duty: nothing is evicted for the third.
    network.publish(&bundles[2]);
    network.members[0].tick(2);
    let tick = network.members[1].tick(2);
    let [(failed, error)] = tick.failed.as_slice() else { panic!("{tick:?}") };
    assert_eq!(*failed, ids[2]);
    assert!(matches!(error, TickError::Fetch(FetchError::Room(RoomError::Reserve(_)))), "{error}");

    // The second was used last, the first is in use: with no duty left, one goes after the other.
    network.shared.lock().unwrap().k = 0;
    let in_use = network.members[1].node.hosting.use_model(&ids[0]).unwrap();
    network.tick(3);
    let error = network.members[1].node.hosting.evict(&ids[0]).unwrap_err();
    assert!(matches!(error, HostingError::InUse { .. }), "{error}");
    drop(in_use);
    drop(network.members[1].node.hosting.use_model(&ids[1]).unwrap());
    network.tick(4);
    // The first two are published no more, so only the third is anybody's duty.
    network.shared.lock().unwrap().k = 2;
    network.shared.lock().unwrap().models.drain(..2);
    network.shared.lock().unwrap().broken.insert("retract");
    let tick = network.members[1].tick(5);
    assert!(
        matches!(tick.failed[0].1, TickError::Fetch(FetchError::Room(RoomError::Registry(_)))),
        "{tick:?}"
    );
    assert!(network.members[1].holds(&ids[0]), "who cannot retract does not evict");
    network.shared.lock().unwrap().broken.clear();
    let tick = network.members[1].tick(6);
    assert_eq!((tick.retracted, tick.evicted), (vec![ids[0]], vec![ids[0]]));
    assert_eq!(tick.fetched, [ids[2]]);
    let host = &network.members[1];
    assert!(!host.holds(&ids[0]) && host.holds(&ids[1]) && host.holds(&ids[2]));
    assert!(!network.announced(&ids[0]).contains(&host.id()));
}

#[test]
fn named_models_stay() {
    let bundles: Vec<_> = (1..=2).map(wide_bundle).collect();
    let mut network = Network::new(2, 2, size_bytes(&bundles[0]));
    let first = network.push(&bundles[0]);
    network.tick(1);
    network.shared.lock().unwrap().models.clear();
    let second = network.push(&bundles[1]);
    let store = network.members[1].node.hosting.store();
    store.set_name(&"mine".parse().unwrap(), &first).unwrap();
    network.members[0].tick(2);
    let tick = network.members[1].tick(2);
    let [(id, TickError::Fetch(FetchError::Room(RoomError::Reserve(_))))] = &tick.failed[..] else {
        panic!("{tick:?}")
    };
    assert_eq!(*id, second);
    assert!(matches!(network.members[1].node.hosting.evict(&first), Err(HostingError::InUse { .. })));
    assert!(network.members[1].holds(&first));
    // Removed by its owner, it makes room.
    network.members[1].node.hosting.store().remove("mine").unwrap();
    assert_eq!(network.members[1].tick(3).fetched, [second]);
}

#[test]
fn entries_that_lie_are_refused_for_good() {
    let mut network = Network::new(2, 2, 1 << 30);
    let id = network.push(&bundle(1));
    network.shared.lock().unwrap().models[0].size_bytes += 1;
    let tick = network.tick(1).pop().unwrap();
    assert!(matches!(&tick.failed[..], [(_, TickError::Fetch(FetchError::StatedSize { .. }))]), "{tick:?}");
    assert!(network.tick(2).pop().unwrap().failed.is_empty());
    let Member { node, maintainer, .. } = network.members.pop().unwrap();
    drop(maintainer);
    let Node { dir, hosting, .. } = node;
    assert!(hosting.refuses(&id));
    assert_eq!(hosting.used_bytes(), 0);
    let again = Hosting::open(Arc::new(Store::open(dir.path()).unwrap()), HostingConfig::with_quota(1));
    assert!(matches!(again, Err(HostingError::Index(_))), "one process at a time");
}

#[test]
fn what_is_no_model_is_refused_for_good() {
    let mut network = Network::new(2, 2, 1 << 30);
    // Bytes whose hashes are right, planted as no importer would make them.
    let mut planted = wide_bundle(1);
    planted.graph = b"no graph".to_vec();
    planted.manifest.graph = Part::of(&planted.graph);
    let id = network.publish(&planted);
    let host = &network.members[0];
    let folder = host.node.dir.path().join("models").join(id.to_string());
    fs::create_dir(&folder).unwrap();
    let manifest = planted.manifest.encode();
    for (file, bytes) in [("manifest", &manifest), ("graph", &planted.graph), ("weights", &planted.weights)] {
        fs::write(folder.join(file), bytes).unwrap();
    }
    host.node.hosting.offer(&id).unwrap();
    let tick = network.tick(1).pop().unwrap();
    assert!(matches!(&tick.failed[..], [(_, TickError::Fetch(FetchError::Invalid { .. }))]), "{tick:?}");
    let host = &network.members[1].node.hosting;
    assert!(host.refuses(&id) && host.used_bytes() == 0);
    assert_eq!(host.store().partials().unwrap(), []);
}

#[test]
fn a_model_that_is_being_fetched_is_not_evicted() {
    let bundles: Vec<_> = (1..=2).map(wide_bundle).collect();
    let mut network = Network::new(2, 2, size_bytes(&bundles[0]));
    // A host that has the manifest and no more: room is reserved, and the fetch does not end.
    let (_dir, store) = cheats::prepared(&[&bundles[0]]);
    let lazy: cheats::Cheat = Arc::new(|answer, stream| match answer.is_manifest {
        true => cheats::send_whole(stream, &answer.body),
        false => Ok(()),
    });
    let lazy = cheats::host(store, bundles[0].model_id(), lazy);
    let first = network.publish(&bundles[0]);
    {
        let mut shared = network.shared.lock().unwrap();
        shared.endpoints.insert(lazy.node, lazy.endpoint.to_string());
        shared.hosts.insert(first, BTreeSet::from([lazy.node]));
    }
    let tick = network.members[1].tick(1);
    assert!(matches!(&tick.failed[..], [(id, _)] if *id == first), "{tick:?}");
    assert_eq!(network.members[1].node.hosting.used_bytes(), size_bytes(&bundles[0]));
    // Nobody's duty any more, but another process fetches it.
    network.shared.lock().unwrap().models.clear();
    let second = network.push(&bundles[1]);
    network.members[0].tick(2);
    let hosting = Arc::clone(&network.members[1].node.hosting);
    let partial = hosting.store().begin_fetch(&bundles[0].manifest).unwrap();
    let tick = network.members[1].tick(2);
    let [(_, TickError::Fetch(FetchError::Room(RoomError::Hosting(HostingError::Partial(_)))))] =
        &tick.failed[..]
    else {
        panic!("{tick:?}")
    };
    drop(partial);
    assert_eq!(network.members[1].tick(3).fetched, [second]);
    assert_eq!(hosting.store().partials().unwrap(), []);
}

#[test]
fn damage_is_retracted_and_mended() {
    let mut network = Network::new(3, 3, 1 << 30);
    let model = wide_bundle(1);
    let id = network.push(&model);
    network.tick(1);
    let path = network.members[1].node.file(&id, "weights");
    let mut bytes = fs::read(&path).unwrap();
    bytes[40_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    network.members[1].node.hosting.groups(&id, veracity_store::PartName::Weights, 2..3).unwrap_err();
    let tick = network.members[1].tick(2);
    assert_eq!(
        (&tick.retracted[..], &tick.evicted[..], &tick.fetched[..]),
        (&[id][..], &[id][..], &[id][..])
    );
    assert!(network.members[1].holds(&id));
    assert_eq!(network.announced(&id).len(), 3);
    // A damaged copy of the owner's is replaced too, and stays the owner's.
    let path = network.members[0].node.file(&id, "weights");
    fs::write(&path, b"").unwrap();
    network.members[0].node.hosting.groups(&id, veracity_store::PartName::Weights, 2..3).unwrap_err();
    let tick = network.members[0].tick(3);
    assert_eq!((&tick.retracted[..], &tick.fetched[..]), (&[id][..], &[id][..]), "{tick:?}");
    assert!(network.members[0].holds(&id) && network.members[0].node.hosting.used_bytes() == 0);
}

#[test]
fn a_crash_between_two_steps_is_made_up_for() {
    let mut network = Network::new(3, 2, 1 << 30);
    let id = network.push(&wide_bundle(1));
    // Announced and gone: killed between retraction and removal, or robbed of its disk.
    let stranger = network.member(&id, false);
    stranger.seen.announce(&id).unwrap();
    assert_eq!(stranger.tick(1).retracted, [id]);
    // There and not announced: killed before the announcement.
    network.members[0].tick(1);
    let holder = network.member(&id, true);
    assert_eq!(holder.tick(1).fetched, [id]);
    holder.seen.retract(&id).unwrap();
    assert_eq!(holder.tick(2).announced, [id]);
}

#[test]
fn a_host_takes_up_what_it_had() {
    let mut network = Network::new(2, 2, 1 << 30);
    let (first, second) = (network.push(&wide_bundle(1)), wide_bundle(2));
    network.tick(7);
    let Network { shared: _shared, mut members } = network;
    let Member { node, maintainer, .. } = members.pop().unwrap();
    drop(maintainer);
    let Node { dir, hosting, source: _, runtime } = node;
    // The server ends, and lets go of what it hosts.
    drop(runtime);
    let used = hosting.used_bytes();
    assert_eq!(used, size_bytes(&wide_bundle(1)));
    drop(hosting);
    let store = Arc::new(Store::open(dir.path()).unwrap());
    let open = || Hosting::open(Arc::clone(&store), HostingConfig::with_quota(1 << 30)).unwrap();
    let hosting = open();
    assert_eq!((hosting.offered(), hosting.used_bytes()), (vec![first], used));
    // Gone meanwhile: its room is free again.
    drop(hosting);
    store.remove(&first.to_string()).unwrap();
    let hosting = open();
    assert_eq!((hosting.offered(), hosting.used_bytes()), (Vec::new(), 0));
    let error = hosting.offer(&second.model_id()).unwrap_err();
    assert!(matches!(error, HostingError::Store(_)), "{error}");
    drop(hosting);
    let config = HostingConfig { answers_max: 0, ..HostingConfig::with_quota(1) };
    assert!(matches!(Hosting::open(store, config), Err(HostingError::Config(_))));
}

#[test]
fn a_registry_that_fails_stops_the_tick() {
    let mut network = Network::new(2, 2, 1 << 30);
    let id = network.push(&bundle(1));
    for call in ["models", "candidates", "hosts_per_model"] {
        network.shared.lock().unwrap().broken = BTreeSet::from([call]);
        let Member { maintainer, seen, .. } = &mut network.members[1];
        let error = maintainer.tick(seen, 1, &()).unwrap_err();
        assert_eq!(error.to_string(), "the registry does not answer: out of order; try again later");
    }
    for call in ["hosts", "announce"] {
        network.shared.lock().unwrap().broken = BTreeSet::from([call]);
        network.members[0].tick(1);
        let tick = network.members[1].tick(1);
        assert!(tick.failed.iter().all(|(failed, _)| *failed == id) && !tick.failed.is_empty(), "{call}");
    }
}

#[test]
fn a_liar_is_asked_last_the_next_time() {
    let mut network = Network::new(2, 2, 1 << 30);
    let id = network.publish(&wide_bundle(1));
    let (_dir, store) = cheats::prepared(&[&wide_bundle(2)]);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let lie: cheats::Cheat = Arc::new(move |answer, stream| {
        count.fetch_add(1, Ordering::Relaxed);
        cheats::send_whole(stream, &answer.body)
    });
    let liar = cheats::host(store, wide_bundle(2).model_id(), lie);
    {
        let mut shared = network.shared.lock().unwrap();
        shared.endpoints.insert(liar.node, liar.endpoint.to_string());
        shared.hosts.insert(id, BTreeSet::from([liar.node]));
    }
    let client = Client::new(FetchConfig { connections: 1, ..config() }).unwrap();
    let Member { node, maintainer, seen } = &mut network.members[1];
    *maintainer = Maintainer::new(Arc::clone(&node.hosting), client, seen.node);
    let tick = maintainer.tick(seen, 1, &()).unwrap();
    let [(_, TickError::Fetch(FetchError::AllHostsFailed { reports, .. }))] = &tick.failed[..] else {
        panic!("{tick:?}")
    };
    assert!(matches!(reports[0].fault, Fault::WrongManifest { found } if found == wide_bundle(2).model_id()));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    network.members[0].node.own(&wide_bundle(1));
    network.members[0].tick(2);
    assert_eq!(network.members[1].tick(2).fetched, [id]);
    assert_eq!(asked.load(Ordering::Relaxed), 1, "an honest host was enough");
}

#[test]
fn names_are_resolved_by_the_registry() {
    let network = Network::new(1, 1, 1);
    let error = network.members[0].seen.resolve("a/b", None).unwrap_err();
    assert_eq!(error.to_string(), "no model is published as 'a/b'; check the name and the version");
    let id = bundle(1).model_id();
    let error = network.members[0].seen.model(&id).unwrap_err();
    assert_eq!(error.to_string(), format!("model {id} is not published; push it first"));
}
