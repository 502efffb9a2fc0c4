//! What founders tell each other, and when one begins (docs/spec/founding.md, section 4).

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use alloy_primitives::B256;
use bytes::BufMut;
use commonware_codec::{Buf, EncodeSize, Error as CodecError, Read, ReadExt as _, Write};
use veracity_consensus::PublicKey;

/// How far a founder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It does not hear enough of the others.
    Gathering,
    /// It hears enough of the others, and waits until they do.
    Ready,
    /// It deals and receives shares.
    Dealing,
    /// It has recorded the outcome with this hash, and serves those who have not. Zero if there is no key.
    Ended(B256),
}

impl Write for Step {
    fn write(&self, out: &mut impl BufMut) {
        match self {
            Self::Gathering => 0u8.write(out),
            Self::Ready => 1u8.write(out),
            Self::Dealing => 2u8.write(out),
            Self::Ended(outcome) => {
                3u8.write(out);
                outcome.0.write(out);
            }
        }
    }
}

impl EncodeSize for Step {
    fn encode_size(&self) -> usize {
        if matches!(self, Self::Ended(_)) { STATUS_BYTES_MAX } else { 1 }
    }
}

impl Read for Step {
    type Cfg = ();

    fn read_cfg(from: &mut impl Buf, (): &()) -> Result<Self, CodecError> {
        match u8::read(from)? {
            0 => Ok(Self::Gathering),
            1 => Ok(Self::Ready),
            2 => Ok(Self::Dealing),
            3 => Ok(Self::Ended(B256::new(<[u8; 32]>::read(from)?))),
            other => Err(CodecError::InvalidEnum(other)),
        }
    }
}

/// Longest status.
pub(crate) const STATUS_BYTES_MAX: usize = 33;
/// How often a founder tells the others how far it is.
pub(crate) const TOLD: Duration = Duration::from_millis(500);
/// Who says nothing for so long is away.
const AWAY: Duration = Duration::from_secs(5);
/// How long those who are there wait for those who may be absent.
const GRACE: Duration = Duration::from_secs(60);

/// How far all founders are, as one of them sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// This founder.
    pub step: Step,
    /// The others; `None` for one that is not heard.
    pub others: BTreeMap<B256, Option<Step>>,
}

/// The other founders, as one of them hears them.
#[derive(Debug)]
pub(crate) struct Roster {
    heard: BTreeMap<PublicKey, Option<(Step, SystemTime)>>,
    absent_max: usize,
    /// Since when enough of them are ready.
    enough_since: Option<SystemTime>,
}

impl Roster {
    pub(crate) fn new(others: impl IntoIterator<Item = PublicKey>, absent_max: u32) -> Self {
        let heard = others.into_iter().map(|key| (key, None)).collect();
        let absent_max = usize::try_from(absent_max).unwrap_or(usize::MAX);
        Self { heard, absent_max, enough_since: None }
    }

    /// Notes what a founder says. What it says after it has ended counts for nothing: it cannot take that back.
    pub(crate) fn hear(&mut self, founder: &PublicKey, step: Step, now: SystemTime) {
        let Some(heard) = self.heard.get_mut(founder) else { return };
        let step = match heard {
            Some((ended @ Step::Ended(_), _)) => *ended,
            _ => step,
        };
        *heard = Some((step, now));
    }

    /// Steps of those who are there.
    fn there(&self, now: SystemTime) -> impl Iterator<Item = Step> {
        let is_there = move |at: SystemTime| now.duration_since(at).unwrap_or_default() < AWAY;
        self.heard.values().flatten().filter(move |(_, at)| is_there(*at)).map(|(step, _)| *step)
    }

    /// Those who need not be waited for, beside this founder.
    fn needed(&self) -> usize {
        self.heard.len().saturating_sub(self.absent_max)
    }

    /// How far this founder is before it begins.
    pub(crate) fn waiting(&self, now: SystemTime) -> Step {
        if self.there(now).count() >= self.needed() { Step::Ready } else { Step::Gathering }
    }

    /// Whether this founder begins, being ready: all are, or those who must be have been for a while, or so many have begun
    /// that an honest one is among them.
    pub(crate) fn begins(&mut self, now: SystemTime) -> bool {
        let ready = self.there(now).filter(|step| *step != Step::Gathering).count();
        let begun = self.there(now).filter(|step| matches!(step, Step::Dealing | Step::Ended(_))).count();
        let faulty_max = self.heard.len() / 3;
        if ready < self.needed() {
            self.enough_since = None;
        } else {
            self.enough_since.get_or_insert(now);
        }
        let is_long = |since: SystemTime| now.duration_since(since).is_ok_and(|passed| passed >= GRACE);
        ready == self.heard.len() || begun > faulty_max || self.enough_since.is_some_and(is_long)
    }

    /// Whether none of the others is there.
    pub(crate) fn is_alone(&self, now: SystemTime) -> bool {
        self.there(now).next().is_none()
    }

    /// Whether all have ended as this founder did.
    pub(crate) fn have_all_ended(&self, outcome: B256) -> bool {
        self.heard.values().all(|heard| matches!(heard, Some((step, _)) if *step == Step::Ended(outcome)))
    }

    pub(crate) fn progress(&self, step: Step, now: SystemTime) -> Progress {
        let is_there = |at: SystemTime| now.duration_since(at).unwrap_or_default() < AWAY;
        let others = self.heard.iter().map(|(key, heard)| {
            let known = heard
                .filter(|(step, at)| is_there(*at) || matches!(step, Step::Ended(_)))
                .map(|(step, _)| step);
            (B256::from_slice(key), known)
        });
        Progress { step, others: others.collect() }
    }
}

#[cfg(test)]
mod tests {
    use commonware_codec::{Copying, DecodeExt as _, Encode as _};
    use commonware_cryptography::{Signer as _, ed25519};

    use super::*;

    fn keys(count: u64) -> Vec<PublicKey> {
        (0..count).map(|seed| ed25519::PrivateKey::from_seed(seed).public_key()).collect()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_status_has_one_encoding() {
        let outcome = B256::repeat_byte(7);
        for step in [Step::Gathering, Step::Ready, Step::Dealing, Step::Ended(outcome)] {
            let bytes = step.encode();
            assert_eq!(bytes.len(), step.encode_size());
            assert_eq!(Step::decode(Copying(&bytes)).ok(), Some(step));
            assert!(Step::decode(Copying(&[&bytes[..], &[0]].concat())).is_err(), "nothing may follow");
        }
        assert!(Step::decode(Copying(&[4])).is_err());
        assert!(Step::decode(Copying(&[3; 32])).is_err());
        assert!(Step::decode(Copying(&[])).is_err());
    }

    #[test]
    fn nobody_begins_before_all_hear_all() {
        let others = keys(3);
        let mut roster = Roster::new(others.clone(), 0);
        assert_eq!(roster.waiting(at(0)), Step::Gathering);
        for other in &others {
            assert!(!roster.begins(at(0)));
            roster.hear(other, Step::Gathering, at(0));
        }
        assert_eq!(roster.waiting(at(1)), Step::Ready);
        for other in &others {
            assert!(!roster.begins(at(1)), "{other} does not hear all");
            roster.hear(other, Step::Ready, at(1));
        }
        assert!(roster.begins(at(1)));
        // Somebody has gone again.
        assert!(!roster.begins(at(1) + AWAY));
        assert!(!roster.begins(at(1) + GRACE + AWAY), "and is waited for");
    }

    #[test]
    fn those_who_may_be_absent_are_waited_for_a_while() {
        let others = keys(3);
        let mut roster = Roster::new(others.clone(), 1);
        let mut second = 0;
        while second < 60 {
            for other in &others[..2] {
                roster.hear(other, Step::Ready, at(second));
            }
            assert_eq!(roster.waiting(at(second)), Step::Ready);
            assert!(!roster.begins(at(second)), "{second}");
            second += 1;
        }
        roster.hear(&others[0], Step::Ready, at(second));
        roster.hear(&others[1], Step::Ready, at(second));
        assert!(roster.begins(at(second)));
        roster.hear(&others[2], Step::Ready, at(second));
        assert!(roster.begins(at(second)));
    }

    #[test]
    fn one_liar_makes_nobody_begin_and_two_do() {
        let others = keys(4);
        let mut roster = Roster::new(others[..3].to_vec(), 0);
        roster.hear(&others[0], Step::Dealing, at(0));
        assert!(!roster.begins(at(0)));
        roster.hear(&others[1], Step::Ended(B256::ZERO), at(0));
        assert!(roster.begins(at(0)), "of four one may be faulty, so an honest one has begun");
        roster.hear(&others[3], Step::Dealing, at(0));
        assert_eq!(roster.progress(Step::Ready, at(0)).others.len(), 3, "a stranger does not count");
    }

    #[test]
    fn all_have_ended_when_each_says_the_same() {
        let others = keys(3);
        let mut roster = Roster::new(others.clone(), 0);
        let (ours, another) = (B256::repeat_byte(1), B256::repeat_byte(2));
        for other in &others {
            assert!(!roster.have_all_ended(ours));
            roster.hear(other, Step::Ended(ours), at(0));
        }
        assert!(roster.have_all_ended(ours));
        assert!(!roster.have_all_ended(another));
        roster.hear(&others[0], Step::Gathering, at(1));
        assert!(roster.have_all_ended(ours), "one that starts again has still ended");
        let progress = roster.progress(Step::Ended(ours), at(1000));
        assert!(progress.others.values().all(|step| *step == Some(Step::Ended(ours))));
    }
}
