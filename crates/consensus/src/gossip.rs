//! Passing transactions on to peers.

use alloy_consensus::{
    TxEnvelope,
    transaction::{Recovered, SignerRecoverable as _},
};
use alloy_eips::{Decodable2718 as _, Encodable2718 as _};
use bytes::Bytes;
use commonware_codec::{
    Buf, DecodeExt as _, Encode as _, EncodeSize, Error as CodecError, RangeCfg, Read, Write,
};
use commonware_p2p::{Blocker, Receiver, Recipients, Sender};
use commonware_parallel::Strategy;
use commonware_runtime::{Clock, Handle, Spawner};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::{PublicKey, SharedPool, SubmitError};

/// Most bytes of transactions in one message.
const MESSAGE_BYTES_MAX: usize = 1 << 18;
/// Most transactions in one message.
const COUNT_MAX: usize = 1 << 12;
/// Largest message.
pub(crate) const PAYLOAD_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 5 * COUNT_MAX + 16;

/// Transactions on their way to a peer, each in its envelope of EIP-2718.
struct Batch(Vec<Bytes>);

impl Write for Batch {
    fn write(&self, out: &mut impl bytes::BufMut) {
        self.0.write(out);
    }
}

impl EncodeSize for Batch {
    fn encode_size(&self) -> usize {
        self.0.encode_size()
    }
}

impl Read for Batch {
    type Cfg = ();

    fn read_cfg(from: &mut impl Buf, (): &()) -> Result<Self, CodecError> {
        let (count, bytes) = (RangeCfg::new(1..=COUNT_MAX), RangeCfg::new(..=MESSAGE_BYTES_MAX));
        Ok(Self(Vec::read_cfg(from, &(count, bytes))?))
    }
}

/// Decodes the transactions of a message and recovers their senders; `None` if one is not a transaction.
fn decode<S: Strategy>(strategy: &S, message: Batch) -> Option<Vec<Recovered<TxEnvelope>>> {
    let decoded = strategy.map_collect_vec(message.0, |bytes| {
        let mut rest = bytes.as_ref();
        let transaction = TxEnvelope::decode_2718(&mut rest).ok().filter(|_| rest.is_empty())?;
        let sender = transaction.recover_signer().ok()?;
        Some(Recovered::new_unchecked(transaction, sender))
    });
    decoded.into_iter().collect()
}

/// Passes on what clients bring to this node, and takes what clients brought to peers.
pub(crate) fn start<E, S, R, B, T>(
    context: &E,
    (sender, receiver): (S, R),
    pool: SharedPool,
    news: mpsc::UnboundedReceiver<Recovered<TxEnvelope>>,
    blocker: B,
    strategy: T,
) -> [Handle<()>; 2]
where
    E: Spawner + Clock,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey>,
    T: Strategy,
{
    let out = context.child("transactions_out").spawn(move |_| send(sender, news));
    let inward = context.child("transactions_in").spawn(move |_| receive(receiver, pool, blocker, strategy));
    [out, inward]
}

async fn send<S: Sender<PublicKey = PublicKey>>(
    mut sender: S,
    mut news: mpsc::UnboundedReceiver<Recovered<TxEnvelope>>,
) {
    let mut waiting = None;
    loop {
        let first = match waiting.take() {
            Some(bytes) => bytes,
            None => match news.recv().await {
                Some(transaction) => encode(&transaction),
                None => return,
            },
        };
        // What has gathered meanwhile goes along.
        let mut length = first.len();
        let mut batch = vec![first];
        while batch.len() < COUNT_MAX
            && let Ok(transaction) = news.try_recv()
        {
            let bytes = encode(&transaction);
            length += bytes.len();
            if length > MESSAGE_BYTES_MAX {
                waiting = Some(bytes);
                break;
            }
            batch.push(bytes);
        }
        let reached = sender.send(Recipients::All, Batch(batch).encode(), false);
        debug!(peers = reached.len(), bytes = length, "passed transactions on");
    }
}

fn encode(transaction: &Recovered<TxEnvelope>) -> Bytes {
    transaction.encoded_2718().into()
}

async fn receive<R, B, T>(mut receiver: R, pool: SharedPool, mut blocker: B, strategy: T)
where
    R: Receiver<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey>,
    T: Strategy,
{
    while let Ok((peer, message)) = receiver.recv().await {
        let transactions = match Batch::decode(message) {
            Ok(batch) => {
                let count = batch.0.len();
                strategy.spawn(count, move |strategy| decode(&strategy, batch)).await
            }
            Err(_) => None,
        };
        let Some(transactions) = transactions else {
            // Honest peers send only what they have decoded and recovered themselves.
            warn!(%peer, "blocked a peer that sent malformed transactions");
            blocker.block(peer);
            continue;
        };
        for transaction in transactions {
            match pool.insert(transaction) {
                // Without a state nothing can be checked; clients of other nodes see that it is not included and resend.
                Ok(_) | Err(SubmitError::NotReady) => {}
                Err(SubmitError::Refused(error)) => debug!(%peer, %error, "a peer's transaction was refused"),
            }
        }
    }
}
