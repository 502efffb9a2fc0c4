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
use veracity_consensus::PublicKey;

use crate::{attack::Attack, network::Simulated};

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
    /// One validator keeps its votes, blocks and dealings to itself, so its new share is revealed.
    Withholds,
    /// One validator floods the others with bytes that mean nothing.
    Garbage,
    /// One validator sends everybody again what it hears, late and on wrong channels.
    Replays,
}

const CALM: Link = Link {
    latency: Duration::from_millis(10),
    jitter: Duration::from_millis(5),
    success_rate: probability!(1.0),
};
const SLOW: Link = Link { latency: Duration::from_millis(200), jitter: Duration::from_millis(150), ..CALM };
const LOSSY: Link = Link { latency: Duration::from_millis(50), success_rate: probability!(0.7), ..CALM };
const DEAD: Link = Link { success_rate: probability!(0.0), ..CALM };

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Calm,
        Self::Slow,
        Self::Lossy,
        Self::Crashes,
        Self::Outage,
        Self::Partition,
        Self::Disks,
        Self::Late,
        Self::Withholds,
        Self::Garbage,
        Self::Replays,
    ];

    /// Transactions by each client.
    pub(crate) fn transactions(self) -> u64 {
        match self {
            Self::Calm | Self::Late => 120,
            _ => 60,
        }
    }

    /// What the last validator does instead of its work.
    pub(crate) fn attack(self) -> Option<Attack> {
        match self {
            Self::Withholds => Some(Attack::Withhold),
            Self::Garbage => Some(Attack::Garbage),
            Self::Replays => Some(Attack::Replay),
            _ => None,
        }
    }

    /// Height before which a run does not end, so that it sees more than two epochs.
    pub(crate) fn height_min(self) -> u64 {
        match self {
            Self::Slow | Self::Lossy => 60,
            _ => 100,
        }
    }

    /// Adds what goes wrong to a plan.
    pub(crate) fn apply(self, plan: PlanBuilder<Simulated>, keys: &[PublicKey]) -> PlanBuilder<Simulated> {
        let seconds = Duration::from_secs;
        match self {
            Self::Calm | Self::Withholds | Self::Garbage | Self::Replays => plan.link(CALM),
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
            Self::Late => {
                let participants = keys[keys.len() - 1..].to_vec();
                let round = Round::new(Epoch::new(1), View::new(10));
                plan.crash(Crash::DelayRound { participants, round })
            }
        }
    }
}
