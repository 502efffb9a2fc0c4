//! A validator that does not do what it should.

use std::{sync::Arc, time::Duration};

use commonware_codec::{Copying, DecodeExt as _, Encode as _, ReadExt as _, varint::UInt};
use commonware_consensus::simplex::types::{Finalize, Notarize, Proposal, Vote};
use commonware_math::algebra::Random as _;
use commonware_p2p::{Receiver, Recipients, Sender, simulated};
use commonware_runtime::{Clock as _, Handle, Spawner as _, Supervisor as _, deterministic};
use commonware_utils::sync::Mutex;
use rand_core::Rng as _;
use veracity_consensus::{Channels, Digest, PublicKey, Scheme};

/// What a faulty validator does instead of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Nothing: it keeps its votes, blocks and dealings to itself.
    Withhold,
    /// Sends bytes that mean nothing on all channels, as many as it can, some of them as long as can be.
    Garbage,
    /// Sends everybody again what it hears, late, on the same channel and on others.
    Replay,
    /// Votes for every proposal and, in the same round, for another.
    Equivocate,
}

type Channel = (simulated::Sender<PublicKey, deterministic::Context>, simulated::Receiver<PublicKey>);

/// Bytes of the longest message of garbage; the others are short.
const LONG: usize = 1 << 20;
/// Messages that are kept to be sent again.
const HEARD_MAX: usize = 256;

/// Runs a faulty validator on the channels of a validator.
pub(crate) fn start(
    context: &deterministic::Context,
    attack: Attack,
    mut channels: Vec<Channel>,
    scheme: Option<Scheme>,
) -> Vec<Handle<()>> {
    if let (Attack::Equivocate, Some(scheme)) = (attack, scheme) {
        let votes = channels.remove(0);
        let equivocate = |context| equivocate(context, scheme, votes);
        return vec![context.child("equivocate").spawn(equivocate)];
    }
    let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let mut tasks = vec![];
    for (number, (mut sender, mut receiver)) in channels.into_iter().enumerate() {
        let memory = heard.clone();
        tasks.push(context.child("listen").spawn(move |_| async move {
            while let Ok((_, message)) = receiver.recv().await {
                let mut heard = memory.lock();
                if heard.len() < HEARD_MAX {
                    heard.push(message.as_ref().to_vec());
                }
            }
        }));
        let memory = heard.clone();
        tasks.push(context.child("attack").with_attribute("channel", number).spawn(
            move |mut context| async move {
                loop {
                    context.sleep(Duration::from_millis(20)).await;
                    let message = match attack {
                        Attack::Withhold | Attack::Equivocate => continue,
                        Attack::Garbage => {
                            let length = if context.next_u32() % 64 == 0 {
                                LONG
                            } else {
                                1 + context.next_u32() as usize % 200
                            };
                            let mut bytes = vec![0; length];
                            context.fill_bytes(&mut bytes);
                            bytes
                        }
                        Attack::Replay => {
                            let heard = memory.lock();
                            if heard.is_empty() {
                                continue;
                            }
                            heard[context.next_u32() as usize % heard.len()].clone()
                        }
                    };
                    sender.send(Recipients::All, message, false);
                }
            },
        ));
    }
    debug_assert_eq!(tasks.len(), 2 * usize::try_from(Channels::<(), ()>::COUNT).unwrap_or_default());
    tasks
}

/// Answers each vote with one for the same block and one for a block that does not exist.
async fn equivocate(
    mut context: deterministic::Context,
    scheme: Scheme,
    (mut sender, mut receiver): Channel,
) {
    while let Ok((_, message)) = receiver.recv().await {
        // Votes of an epoch begin with its number.
        let mut bytes = Copying(message.as_ref());
        let Ok(UInt(epoch)) = UInt::<u64>::read(&mut bytes) else { continue };
        let Ok(vote) = Vote::<Scheme, Digest>::decode(bytes) else { continue };
        let other = |proposal: &Proposal<Digest>, context: &mut deterministic::Context| {
            Proposal::new(proposal.round, proposal.parent, Digest::random(context))
        };
        let votes = match vote {
            Vote::Notarize(vote) => [vote.proposal.clone(), other(&vote.proposal, &mut context)]
                .map(|proposal| Notarize::sign(&scheme, proposal).map(Vote::Notarize)),
            Vote::Finalize(vote) => [vote.proposal.clone(), other(&vote.proposal, &mut context)]
                .map(|proposal| Finalize::sign(&scheme, proposal).map(Vote::Finalize)),
            Vote::Nullify(_) => continue,
        };
        for vote in votes.into_iter().flatten() {
            let vote: Vote<Scheme, Digest> = vote;
            let message = [UInt(epoch).encode().as_ref(), vote.encode().as_ref()].concat();
            sender.send(Recipients::All, message, true);
        }
    }
}
