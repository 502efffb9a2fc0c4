//! A network of simulated validators.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU64,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use alloy_primitives::{Address, B256};
use commonware_consensus::types::{Epoch, Height, Round};
use commonware_cryptography::{
    Signer as _,
    bls12381::{
        dkg::feldman_desmedt::deal,
        primitives::{group::Share, sharing::Mode},
    },
    ed25519,
};
use commonware_glue::{
    dkg::{
        network::AddressableManager,
        types::{EpochInfo, EpochOutcome},
    },
    simulate::{
        engine::{EngineDefinition, InitContext},
        exit::ExitCondition,
        plan::PlanBuilder,
        processed::ProcessedHeight,
        property::Property,
        tracker::{FinalizationUpdate, ProgressTracker},
    },
};
use commonware_p2p::Address as PeerAddress;
use commonware_parallel::Sequential;
use commonware_runtime::{Clock as _, Handle, Quota, Spawner as _, Supervisor as _, deterministic};
use commonware_utils::{
    N3f1, TestRng,
    channel::mpsc,
    ordered::{Map, Set},
};
use tokio::sync::watch;
use veracity_chain::{PoolLimits, genesis_block, genesis_changes};
use veracity_consensus::{
    Certificate, Channels, Config, EpochStatus, Faults, Finalized, Genesis, Head, NAMESPACE, Observer,
    PublicKey, Running, Scheme, SharedPool, Source, Timing, message_bytes_max, start,
};

use crate::{
    Scenario, attack,
    client::{CHAIN_ID, Workload},
    follow::{self, Liar},
    stake,
    traffic::{Counted, Counter, Traffic},
};

/// What came of a simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed that repeats it.
    pub seed: u64,
    /// Height of the highest block.
    pub height: u64,
    /// Transactions in the chain.
    pub transactions: usize,
    /// Crashes of validators.
    pub crashes: u64,
    /// Hash over everything that happened: the same for the same seed.
    pub history: String,
    /// Root of the state after the highest block that all have.
    pub state_root: B256,
    /// The longest pause between two blocks.
    pub pause_max: Duration,
    /// Who has shares of the network's key at the end.
    pub committee: Vec<usize>,
    /// What validators heard from each other.
    pub traffic: Traffic,
    /// From handing a transaction to a validator until that validator knows that it is final, sorted.
    pub latencies: Vec<Duration>,
    /// Who signed in each epoch.
    pub signers: BTreeMap<u64, BTreeSet<usize>>,
}

/// Runs a network that `validators` found under a scenario until all transactions are in the chain of all validators.
///
/// # Errors
/// What went wrong, with the seed that repeats it: validators that disagree, a transaction that was lost or executed
/// twice, or a network that did not come to an end in time.
pub fn run(scenario: Scenario, seed: u64, validators: u8) -> Result<Report, String> {
    let simulated = Simulated::new(scenario, validators);
    let validators = simulated.keys.len();
    let world = simulated.world.clone();
    let done = Done { validators, height_min: scenario.height_min(), world: world.clone() };
    let plan = PlanBuilder::new(simulated.clone())
        .seed(seed)
        .timeout(Duration::from_secs(1800))
        .exit_condition(done)
        .property(Whole(simulated.clone()));
    let plan = scenario.apply(plan, &simulated.keys);
    let failed = |error: String| format!("{scenario:?} with seed {seed}: {error}");
    let result = plan.run().map_err(failed)?.pop().ok_or_else(|| failed("no result".into()))?;
    let world = world.lock();
    if let Some(failure) = &world.failure {
        return Err(failed(failure.clone()));
    }
    let height = world.blocks.last_key_value().map_or(0, |(height, _)| *height);
    let state_root = world.blocks.last_key_value().map(|(_, block)| block.state_root).unwrap_or_default();
    let transactions = world.blocks.values().map(|block| block.transactions.len()).sum();
    let pause_max = world.pause_max;
    let place = |key: &PublicKey| simulated.keys.iter().position(|known| known == key);
    let committee = world.committees.last_key_value().map(|(_, committee)| committee.clone());
    let committee: BTreeSet<usize> = committee.iter().flatten().filter_map(place).collect();
    let mut latencies = world.latencies.clone();
    latencies.sort();
    Ok(Report {
        seed,
        height,
        transactions,
        crashes: result.crashes,
        history: result.state,
        state_root,
        pause_max,
        committee: committee.into_iter().collect(),
        traffic: simulated.counter.get(),
        latencies,
        signers: world.signers.clone(),
    })
}

/// A block as the first validator saw it that reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    hash: B256,
    parent: B256,
    state_root: B256,
    transactions: Vec<B256>,
}

/// What the simulator knows and no validator does.
#[derive(Debug, Clone, Default)]
pub(crate) struct World(Arc<Mutex<WorldState>>);

#[derive(Debug, Default)]
struct WorldState {
    blocks: BTreeMap<u64, Seen>,
    /// Who has shares, by epoch.
    committees: BTreeMap<u64, Set<PublicKey>>,
    /// Who said that it signs, by epoch.
    signers: BTreeMap<u64, BTreeSet<usize>>,
    failure: Option<String>,
    /// When the highest block was final somewhere for the first time.
    latest: Option<Duration>,
    pause_max: Duration,
    /// Transactions that are not final where they were sent: to whom, and when.
    sent: HashMap<B256, (usize, Duration)>,
    latencies: Vec<Duration>,
    /// The height of the highest block.
    heights: watch::Sender<u64>,
    /// Followers that are not done.
    following: usize,
}

impl World {
    /// The height of the highest block that is final somewhere.
    pub(crate) fn heights(&self) -> watch::Receiver<u64> {
        self.lock().heights.subscribe()
    }

    /// Something is not as it should be.
    pub(crate) fn fail(&self, failure: String) {
        self.lock().fail(failure);
    }

    fn lock(&self) -> MutexGuard<'_, WorldState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WorldState {
    fn fail(&mut self, failure: String) {
        self.failure.get_or_insert(failure);
    }

    fn sent(&mut self, validator: usize, now: Duration, transaction: B256) {
        self.sent.entry(transaction).or_insert((validator, now));
    }

    fn finalized(&mut self, validator: usize, now: Duration, block: &Finalized) {
        let header = block.block.header();
        let transactions: Vec<B256> =
            block.block.execution().transactions.iter().map(|t| *t.tx_hash()).collect();
        for hash in &transactions {
            if let Entry::Occupied(sent) = self.sent.entry(*hash)
                && sent.get().0 == validator
            {
                self.latencies.push(now.saturating_sub(sent.remove().1));
            }
        }
        let hash = header.hash_slow();
        let seen =
            Seen { hash, parent: header.parent_hash, state_root: block.executed.state.root(), transactions };
        if header.timestamp > now.as_secs() {
            self.fail(format!("block {} is from the future", header.number));
        }
        if seen.state_root != header.state_root {
            self.fail(format!("block {} leads validator {validator} to another state", header.number));
        }
        if let Some(before) = self.blocks.get(&(header.number - 1))
            && before.hash != seen.parent
        {
            self.fail(format!("block {} of validator {validator} has another parent", header.number));
        }
        let is_new = self.blocks.last_key_value().is_none_or(|(height, _)| *height < header.number);
        if *self.blocks.entry(header.number).or_insert_with(|| seen.clone()) != seen {
            self.fail(format!("validator {validator} has another block {}", header.number));
        }
        if let Some(info) = block.block.epoch_info() {
            self.committees.insert(info.epoch.get(), info.output.players().clone());
        }
        if is_new {
            self.heights.send_replace(header.number);
        }
        if is_new && let Some(before) = self.latest.replace(now) {
            self.pause_max = self.pause_max.max(now.saturating_sub(before));
        }
    }
}

/// Reports what one validator or follower sees.
#[derive(Clone)]
pub(crate) struct Watch {
    validator: usize,
    key: PublicKey,
    clock: Arc<deterministic::Context>,
    pub(crate) world: World,
    epochs: watch::Receiver<Option<EpochStatus>>,
    /// Who proposes blocks that must not become final.
    liar: Option<PublicKey>,
    monitor: mpsc::UnboundedSender<FinalizationUpdate<PublicKey>>,
}

impl Observer for Watch {
    async fn finalized(&self, block: Finalized) {
        let now = since_epoch(&self.clock);
        let mut world = self.world.lock();
        if self.liar.as_ref() == Some(&block.block.section().context.leader) {
            world.fail(format!("block {} names another state than it leads to", block.block.header().number));
        }
        world.finalized(self.validator, now, &block);
        if let Some(status) = self.epochs.borrow().as_ref().filter(|status| status.has_share) {
            world.signers.entry(status.info.epoch.get()).or_default().insert(self.validator);
        }
    }

    fn certified(&self, _: Certificate) {}

    fn tip(&self, round: Round, height: u64, hash: B256) {
        let (pk, height) = (self.key.clone(), Height::new(height));
        // The simulator may have stopped.
        let _ = self.monitor.send(FinalizationUpdate { pk, round, height, block_digest: hash.to_vec() });
    }
}

/// A network of validators that share a genesis.
#[derive(Clone)]
pub(crate) struct Simulated {
    scenario: Scenario,
    signers: Vec<ed25519::PrivateKey>,
    pub(crate) keys: Vec<PublicKey>,
    shares: Map<PublicKey, Share>,
    genesis: Arc<Genesis>,
    workload: Arc<Workload>,
    world: World,
    counter: Counter,
}

/// Blocks per epoch: few, so that a run sees several epochs.
pub(crate) const EPOCH_BLOCKS: NonZeroU64 = NonZeroU64::new(40).expect("not zero");

impl Simulated {
    fn new(scenario: Scenario, founders: u8) -> Self {
        let validators = founders + scenario.newcomers();
        let signers: Vec<_> = (0..validators).map(|i| ed25519::PrivateKey::from_seed(i.into())).collect();
        let keys: Vec<_> = signers.iter().map(|signer| signer.public_key()).collect();
        let founders = usize::from(founders);
        let addresses = keys[..founders].iter().enumerate();
        let addresses = addresses.map(|(i, key)| (key.clone(), PeerAddress::Symmetric(endpoint(i))));
        let addresses: Map<_, _> = Map::from_iter_dedup(addresses);
        let players: Set<PublicKey> = addresses.keys().clone();
        let dealt = deal::<_, _, N3f1>(TestRng::new(7), Mode::NonZeroCounter, players.clone());
        let (output, shares) = dealt.expect("there are validators");
        let info = EpochInfo {
            outcome: EpochOutcome::Success,
            epoch: Epoch::zero(),
            output,
            players: players.clone(),
            next_players: players,
            directory: addresses.into(),
        };
        let mut workload = Workload::new(validators, scenario.transactions());
        let (changes, block) = match scenario.newcomers() > 0 {
            true => {
                stake::add_changes(&mut workload, &signers, founders, scenario.leaver(founders));
                stake::genesis(&workload, &signers[..founders])
            }
            false => {
                let file = workload.genesis();
                let changes = genesis_changes(&file);
                let mut state = veracity_chain::State::default();
                state.apply(&changes).expect("accounts bring their code");
                (changes, genesis_block(&file, &state))
            }
        };
        let genesis = Genesis::new(CHAIN_ID, changes, block, info).expect("accounts bring their code");
        Self {
            scenario,
            signers,
            keys,
            shares,
            genesis: Arc::new(genesis),
            workload: Arc::new(workload),
            world: World::default(),
            counter: Counter::default(),
        }
    }
}

impl Simulated {
    /// Whom a validator was told of.
    fn told(&self, validator: usize) -> Map<PublicKey, PeerAddress> {
        let count = if validator + 1 == self.keys.len() { self.scenario.told() } else { 0 };
        let told = self.keys.iter().take(count).enumerate();
        Map::from_iter_dedup(told.map(|(i, key)| (key.clone(), PeerAddress::Symmetric(endpoint(i)))))
    }

    fn faults(&self, validator: &PublicKey) -> Faults {
        let is_faulty = self.keys.last() == Some(validator);
        if is_faulty { self.scenario.faults() } else { Faults::default() }
    }

    /// What a founder signs with in the first epoch.
    fn scheme(&self, founder: &PublicKey) -> Option<Scheme> {
        let output = &self.genesis.info().output;
        let share = self.shares.get_value(founder)?.clone();
        Scheme::signer(NAMESPACE, output.players().clone(), output.public().clone(), share)
    }
}

/// Where a validator is reached.
pub(crate) fn endpoint(validator: usize) -> SocketAddr {
    let port = 10_000 + u16::try_from(validator).unwrap_or(u16::MAX - 10_000);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// What can be asked of a running validator.
pub(crate) struct Validator {
    /// None if it does not do what it should.
    marshal: Option<veracity_consensus::Marshal>,
    heads: watch::Receiver<Option<Head>>,
    workload: Arc<Workload>,
    /// Whether it is to be there at the end.
    stays: bool,
}

impl Validator {
    fn height(&self) -> u64 {
        self.heads.borrow().as_ref().map_or(0, |head| head.header.number)
    }

    /// Whether all transactions are in the state.
    fn has_all(&self) -> bool {
        let head = self.heads.borrow();
        let Some(head) = head.as_ref() else { return false };
        let nonce =
            |client| head.state.account(self.workload.address(client)).map_or(0, |account| account.nonce);
        let counts = self.workload.transactions.iter().map(Vec::len).enumerate();
        counts.into_iter().all(|(client, count)| usize::try_from(nonce(client)) == Ok(count))
    }
}

impl ProcessedHeight for Validator {
    async fn processed_height(&self) -> u64 {
        let Some(marshal) = &self.marshal else { return 0 };
        marshal.get_processed().await.map_or(0, |processed| processed.height().get())
    }
}

/// The tasks of a validator, and the context that all of them end with.
pub(crate) struct Engine {
    context: deterministic::Context,
    tasks: Vec<Handle<()>>,
}

impl EngineDefinition for Simulated {
    type Engine = Engine;
    type PublicKey = PublicKey;
    type State = Validator;

    fn participants(&self) -> Vec<PublicKey> {
        self.keys.clone()
    }

    fn channels(&self) -> Vec<(u64, Quota)> {
        (0..Channels::<(), ()>::COUNT).map(|channel| (channel, Channels::<(), ()>::quota(channel))).collect()
    }

    fn max_message_size(&self) -> u32 {
        message_bytes_max()
    }

    async fn init(&self, from: InitContext<'_, PublicKey>) -> (Engine, Validator) {
        let InitContext { context, index, delayed, public_key, oracle, channels, monitor, .. } = from;
        if let Some(attack) = self.scenario.attack()
            && index + 1 == self.keys.len()
        {
            let tasks = attack::start(&context, attack, channels, self.scheme(public_key));
            let (_, heads) = watch::channel(None);
            return (
                Engine { context, tasks },
                Validator { marshal: None, heads, workload: self.workload.clone(), stays: false },
            );
        }
        let count =
            |(channel, (sender, receiver))| (sender, Counted::new(receiver, channel, self.counter.clone()));
        let mut channels = channels.into_iter().enumerate().map(count);
        let channels = Channels::new(|_| channels.next().expect("all channels were registered"));
        let (heads, head) = watch::channel(None);
        let (pool, news) = SharedPool::new(pool_limits(), head.clone());
        let (epochs, epoch) = watch::channel(None);
        let (source, questions) = Source::new();
        if index == 0 && self.scenario == Scenario::Followed {
            self.followers(&context, &source);
        }
        let observer = Watch {
            validator: index,
            epochs: epoch,
            liar: self.keys.iter().find(|key| self.faults(key).false_target).cloned(),
            key: public_key.clone(),
            clock: Arc::new(context.child("clock")),
            world: self.world.clone(),
            monitor,
        };
        // Clients of a faulty validator go to another, and those of one that is not there yet.
        let honest = self.shares.len() - usize::from(self.scenario.attack().is_some());
        let clients = (0..self.workload.transactions.len()).filter(|client| client % honest == index);
        let clients =
            Clients { validator: index, workload: self.workload.clone(), clients: clients.collect() };
        clients.insist(&context, pool.clone(), head.clone(), self.world.clone());
        let config = Config {
            genesis: self.genesis.clone(),
            epoch_blocks: EPOCH_BLOCKS,
            signer: self.signers[index].clone(),
            share: self.shares.get_value(public_key).cloned(),
            partition: format!("validator-{index}"),
            strategy: Sequential,
            manager: AddressableManager::new(oracle.socket_manager()),
            bootstrap: self.told(index),
            blocker: oracle.control(public_key.clone()),
            observer,
            beneficiary: Address::repeat_byte(0xfe),
            pool,
            news,
            heads,
            epochs,
            questions,
            timing: Timing::default(),
            sync: delayed,
            faults: self.faults(public_key),
        };
        let running = Box::pin(start(&context, config, channels)).await;
        let Running { tasks, marshal } = running;
        let stays = self.scenario.leaver(self.shares.len()) != Some(index);
        let validator =
            Validator { marshal: Some(marshal), heads: head, workload: self.workload.clone(), stays };
        (Engine { context, tasks }, validator)
    }

    fn start(engine: Engine) -> Handle<()> {
        let Engine { context, tasks } = engine;
        context.spawn(|_| async move {
            // A validator ends when one of its parts does, and with it all that it spawned.
            let ended = Handle::select(tasks).await;
            tracing::debug!(?ended, "a validator ended");
        })
    }
}

impl Simulated {
    /// Starts a follower for each way in which one of its upstreams may lie.
    fn followers(&self, context: &deterministic::Context, source: &Source) {
        for (number, liar) in Liar::ALL.into_iter().enumerate() {
            let context = context.child("follower").with_attribute("liar", number);
            let watch = Watch {
                validator: self.keys.len() + number,
                key: self.keys[0].clone(),
                clock: Arc::new(context.child("clock")),
                world: self.world.clone(),
                epochs: watch::channel(None).1,
                liar: None,
                monitor: follow::nobody(),
            };
            self.world.lock().following += 1;
            let (genesis, source, world) = (self.genesis.clone(), source.clone(), self.world.clone());
            context.spawn(move |context| async move {
                follow::run(context, follow::Follower { liar, genesis, source, watch }).await;
                world.lock().following -= 1;
            });
        }
    }
}

/// What the pools of validators accept.
pub(crate) fn pool_limits() -> PoolLimits {
    PoolLimits {
        chain_id: CHAIN_ID,
        transactions_max: 10_000,
        per_sender_max: 1_000,
        transaction_bytes_max: 1 << 17,
        gas_max: 100_000_000,
        fee_min: 1,
    }
}

/// Clients of one validator.
struct Clients {
    validator: usize,
    workload: Arc<Workload>,
    clients: Vec<usize>,
}

impl Clients {
    /// Sends their transactions, again and again, until they are in the chain.
    fn insist(
        self,
        context: &deterministic::Context,
        pool: SharedPool,
        heads: watch::Receiver<Option<Head>>,
        world: World,
    ) {
        const AT_ONCE: usize = 3;
        let Self { validator, workload, clients } = self;
        context.child("clients").spawn(move |context| async move {
            loop {
                context.sleep(Duration::from_millis(150)).await;
                let Some(head) = heads.borrow().clone() else { continue };
                let now = since_epoch(&context);
                for client in &clients {
                    let account = head.state.account(workload.address(*client));
                    let nonce = account.map_or(0, |account| account.nonce);
                    let rest = usize::try_from(nonce).unwrap_or(usize::MAX);
                    for transaction in workload.transactions[*client].iter().skip(rest).take(AT_ONCE) {
                        // Those before the first block wait for validators that have yet to start.
                        if head.header.number > 0 {
                            world.lock().sent(validator, now, *transaction.tx_hash());
                        }
                        // It may be here already, or in a block by now.
                        let _ = pool.submit(transaction.clone());
                    }
                }
            }
        });
    }
}

fn since_epoch(clock: &deterministic::Context) -> Duration {
    clock.current().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// Ends a simulation when all validators have all transactions.
#[derive(Clone)]
struct Done {
    validators: usize,
    height_min: u64,
    world: World,
}

type Verdict<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

impl ExitCondition<PublicKey, Validator> for Done {
    fn name(&self) -> &'static str {
        "all validators have all transactions"
    }

    fn requires_polling(&self) -> bool {
        true
    }

    fn reached<'a>(
        &'a self,
        _: &'a ProgressTracker<PublicKey>,
        states: &'a [&'a Validator],
        _: usize,
    ) -> Verdict<'a, bool> {
        let all = states.len() == self.validators;
        let mut honest = states.iter().filter(|state| state.stays);
        let is_done = all
            && self.world.lock().following == 0
            && honest.all(|state| state.has_all() && state.height() >= self.height_min);
        Box::pin(async move { Ok(is_done) })
    }
}

/// Each transaction is in the chain once, and the chain has no gaps.
#[derive(Clone)]
struct Whole(Simulated);

impl Property<PublicKey, Validator> for Whole {
    fn name(&self) -> &'static str {
        "each transaction is in the chain once"
    }

    fn check<'a>(&'a self, _: &'a ProgressTracker<PublicKey>, _: &'a [&'a Validator]) -> Verdict<'a, ()> {
        Box::pin(async move {
            let world = self.0.world.lock();
            let heights: Vec<u64> = world.blocks.keys().copied().collect();
            if heights.iter().zip(1..).any(|(height, expected)| *height != expected) {
                return Err("the chain has gaps".into());
            }
            let found: Vec<B256> =
                world.blocks.values().flat_map(|block| block.transactions.clone()).collect();
            let expected: BTreeSet<B256> =
                self.0.workload.transactions.iter().flatten().map(|t| *t.tx_hash()).collect();
            if found.len() != expected.len() || found.iter().copied().collect::<BTreeSet<_>>() != expected {
                return Err(format!(
                    "{} transactions are in the chain, {} were sent",
                    found.len(),
                    expected.len()
                ));
            }
            Ok(())
        })
    }
}
