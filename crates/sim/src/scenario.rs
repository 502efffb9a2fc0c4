//! What goes wrong in a simulation.

use std::time::Duration;

use commonware_consensus::types::{Epoch, Round, View};
use commonware_glue::simulate::{
    action::{Action, Crash, Schedule},
    plan::PlanBuilder,
};
use commonware_p2p::simulated::Link;
use commonware_runtime::deterministic::FaultConfig;
use commonware_utils::probability;
use veracity_consensus::{Faults, PublicKey};

use crate::{
    attack::Attack,
    network::{EPOCH_BLOCKS, Simulated},
};

/// What goes wrong in a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
#[non_exhaustive]
pub enum Scenario {
    /// Nothing.
    Calm,
    /// Messages take long, and longer or shorter by chance.
    Slow,
    /// Three of ten messages are lost.
    Lossy,
    /// One validator after the other crashes at a random moment and comes back.
    Crashes,
    /// All validators crash at once and come back.
    Outage,
    /// The network falls into two halves, neither of which can decide, and heals.
    Partition,
    /// Disks fail, which stops validators, and they come back.
    Disks,
    /// One validator joins late, with the state of the others.
    Late,
    /// One validator joins late that reaches only one of the others, the one that it was told of.
    Told,
    /// A new validator bonds, is elected and joins; another leaves; then a third is away, and the new one is needed.
    Changes,
    /// A new validator bonds and is elected; a founder begins only after that election, which it cannot ask for any more,
    /// and later it is needed.
    Missed,
    /// One validator keeps its votes, blocks and dealings to itself, so its new share is revealed.
    Withholds,
    /// One validator floods the others with bytes that mean nothing.
    Garbage,
    /// One validator sends everybody again what it hears, late and on wrong channels.
    Replays,
    /// One validator votes for whatever others vote for, and against it, in every round.
    Equivocates,
    /// The clock of one validator is an hour ahead.
    Clock,
    /// One validator proposes blocks that name another state log than they lead to.
    Target,
    /// Followers join and are away for a while, and one of the two upstreams of each lies, each in another way.
    Followed,
}

const CALM: Link = Link {
    latency: Duration::from_millis(10),
    jitter: Duration::from_millis(5),
    success_rate: probability!(1.0),
};
const SLOW: Link = Link { latency: Duration::from_millis(200), jitter: Duration::from_millis(150), ..CALM };
const LOSSY: Link = Link { latency: Duration::from_millis(50), success_rate: probability!(0.7), ..CALM };
const DEAD: Link = Link { success_rate: probability!(0.0), ..CALM };

/// A validator starts in this round.
fn joins_late(validator: &PublicKey, epoch: u64, view: u64) -> Crash<PublicKey> {
    let round = Round::new(Epoch::new(epoch), View::new(view));
    Crash::DelayRound { participants: vec![validator.clone()], round }
}

/// The last validator is connected so with the others from `first` on.
fn last_linked(keys: &[PublicKey], first: usize, link: &Link) -> Schedule<PublicKey> {
    let (last, others) = keys.split_last().expect("there are validators");
    others[first..].iter().flat_map(|other| [(last, other), (other, last)]).fold(
        Schedule::new(),
        |schedule, (from, to)| {
            let (from, to, link) = (from.clone(), to.clone(), link.clone());
            schedule.at(Duration::from_secs(1), Action::UpdateLink { from, to, link })
        },
    )
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Calm,
        Self::Slow,
        Self::Lossy,
        Self::Crashes,
        Self::Outage,
        Self::Partition,
        Self::Disks,
        Self::Late,
        Self::Told,
        Self::Changes,
        Self::Missed,
        Self::Withholds,
        Self::Garbage,
        Self::Replays,
        Self::Equivocates,
        Self::Clock,
        Self::Target,
        Self::Followed,
    ];

    /// Transactions by each client.
    pub(crate) fn transactions(self) -> u64 {
        match self {
            Self::Calm | Self::Late => 120,
            // So that blocks come with the heartbeat, and epochs take their time.
            Self::Changes | Self::Missed => 3,
            _ => 60,
        }
    }

    /// How many validators bond later, beside those who found the network.
    pub(crate) fn newcomers(self) -> u8 {
        u8::from(matches!(self, Self::Changes | Self::Missed))
    }

    /// The one of the founders that leaves.
    pub(crate) fn leaver(self, founders: usize) -> Option<usize> {
        (self == Self::Changes).then(|| founders - 1)
    }

    /// What the last validator does instead of its work.
    pub(crate) fn attack(self) -> Option<Attack> {
        match self {
            Self::Withholds => Some(Attack::Withhold),
            Self::Garbage => Some(Attack::Garbage),
            Self::Replays => Some(Attack::Replay),
            Self::Equivocates => Some(Attack::Equivocate),
            _ => None,
        }
    }

    /// How many of the others the last validator is told of, instead of asking the founders where to join.
    pub(crate) fn told(self) -> usize {
        usize::from(self == Self::Told)
    }

    /// What is wrong with the last validator.
    pub(crate) fn faults(self) -> Faults {
        match self {
            Self::Clock => Faults { clock_ahead: Duration::from_secs(3600), ..Faults::default() },
            Self::Target => Faults { false_target: true, ..Faults::default() },
            _ => Faults::default(),
        }
    }

    /// Height before which a run does not end, so that it sees more than two epochs.
    pub(crate) fn height_min(self) -> u64 {
        match self {
            Self::Slow | Self::Lossy => 60,
            Self::Changes | Self::Missed => 5 * EPOCH_BLOCKS.get() + 20,
            _ => 100,
        }
    }

    /// Adds what goes wrong to a plan.
    pub(crate) fn apply(self, plan: PlanBuilder<Simulated>, keys: &[PublicKey]) -> PlanBuilder<Simulated> {
        let seconds = Duration::from_secs;
        let last = keys.last().expect("there are validators");
        // The first one is away in the epoch after the one that began with the new committee.
        let away = || {
            let schedule = Schedule::new().at(seconds(175), Action::Crash(keys[0].clone()));
            Crash::Schedule(schedule.at(seconds(205), Action::Restart(keys[0].clone())))
        };
        let middle = EPOCH_BLOCKS.get() / 2;
        match self {
            Self::Calm
            | Self::Withholds
            | Self::Garbage
            | Self::Replays
            | Self::Equivocates
            | Self::Clock
            | Self::Target
            | Self::Followed => plan.link(CALM),
            Self::Slow => plan.link(SLOW),
            Self::Lossy => plan.link(LOSSY),
            Self::Crashes => {
                plan.crash(Crash::Random { frequency: seconds(4), downtime: seconds(2), count: 1 })
            }
            Self::Outage => {
                let all = |at, act: fn(PublicKey) -> Action<PublicKey>| {
                    move |schedule: Schedule<PublicKey>, key: &PublicKey| schedule.at(at, act(key.clone()))
                };
                let schedule = keys.iter().fold(Schedule::new(), all(seconds(4), Action::Crash));
                plan.crash(Crash::Schedule(keys.iter().fold(schedule, all(seconds(7), Action::Restart))))
            }
            Self::Partition => {
                let (left, right) = keys.split_at(keys.len() / 2);
                let between = left.iter().flat_map(|l| right.iter().flat_map(move |r| [(l, r), (r, l)]));
                let cut = |schedule: Schedule<PublicKey>, (from, to): (&PublicKey, &PublicKey)| {
                    let (from, to) = (from.clone(), to.clone());
                    schedule.at(seconds(4), Action::UpdateLink { from, to, link: DEAD })
                };
                let schedule = between.fold(Schedule::new(), cut);
                plan.crash(Crash::Schedule(schedule.at(seconds(24), Action::Heal(CALM))))
            }
            Self::Disks => {
                let faults = FaultConfig::default().sync(probability!(0.01));
                let schedule = Schedule::new()
                    .at(seconds(3), Action::SetStorageFault(faults))
                    .at(seconds(5), Action::SetStorageFault(FaultConfig::default()));
                let back = |schedule: Schedule<PublicKey>, key: &PublicKey| {
                    schedule.at(seconds(6), Action::Restart(key.clone()))
                };
                plan.crash(Crash::Schedule(keys.iter().fold(schedule, back)))
            }
            Self::Late => plan.crash(joins_late(last, 1, 10)),
            Self::Told => plan
                .link(CALM)
                .crash(joins_late(last, 1, 10))
                .crash(Crash::Schedule(last_linked(keys, 1, &DEAD))),
            Self::Changes => {
                // One crashes while it notes who was elected.
                let forgets = Crash::ProcessedHeight {
                    participant: keys[1].clone(),
                    heights: middle - 1..=middle + 1,
                    downtime: seconds(3),
                };
                plan.link(CALM).crash(joins_late(last, 1, 2)).crash(away()).crash(forgets)
            }
            // The last founder. The new validator is there from the beginning, so that nobody else is missed.
            Self::Missed => {
                plan.link(CALM).crash(joins_late(&keys[keys.len() - 2], 0, middle + 5)).crash(away())
            }
        }
    }
}
