//! Passing transactions on to peers.

use std::{collections::VecDeque, time::Duration};

use alloy_consensus::{
    TxEnvelope,
    transaction::{Recovered, SignerRecoverable as _},
};
use alloy_eips::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::B256;
use bytes::Bytes;
use commonware_codec::{
    Buf, DecodeExt as _, Encode as _, EncodeSize, Error as CodecError, RangeCfg, Read, Write,
};
use commonware_macros::select;
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
pub(crate) struct Batch(pub(crate) Vec<Bytes>);

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

/// Decodes the transactions of a message and recovers the senders of those that are new; `None` if one is not a
/// transaction.
pub(crate) fn decode<S: Strategy>(
    strategy: &S,
    message: Batch,
    pool: &SharedPool,
) -> Option<Vec<Recovered<TxEnvelope>>> {
    let decoded = strategy.map_collect_vec(message.0, |bytes| {
        let mut rest = bytes.as_ref();
        let transaction = TxEnvelope::decode_2718(&mut rest).ok().filter(|_| rest.is_empty())?;
        if let Some(sender) = pool.sender(transaction.tx_hash()) {
            return Some(Recovered::new_unchecked(transaction, sender));
        }
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
    let sending = pool.clone();
    let out = context.child("transactions_out").spawn(move |context| send(context, sender, news, sending));
    let inward = context.child("transactions_in").spawn(move |_| receive(receiver, pool, blocker, strategy));
    [out, inward]
}

/// How long transactions gather before they are sent together, which keeps below the quota of the channel.
const GATHER: Duration = Duration::from_millis(10);
/// After this, what a client brought and still waits is sent again: a peer may have been away.
const REPEAT: Duration = Duration::from_secs(3);
/// Transactions of clients that are sent again.
const REPEATED_MAX: usize = 1 << 14;

async fn send<E: Clock, S: Sender<PublicKey = PublicKey>>(
    context: E,
    mut sender: S,
    mut news: mpsc::UnboundedReceiver<Recovered<TxEnvelope>>,
    pool: SharedPool,
) {
    let mut own: VecDeque<B256> = VecDeque::new();
    let mut repeat_at = context.current() + REPEAT;
    loop {
        let first = select! {
            first = news.recv() => match first {
                Some(first) => Some(first),
                None => return,
            },
            () = context.sleep_until(repeat_at) => None,
        };
        let mut batch = vec![];
        if let Some(first) = first {
            context.sleep(GATHER).await;
            batch.push(first);
            while batch.len() < COUNT_MAX
                && let Ok(transaction) = news.try_recv()
            {
                batch.push(transaction);
            }
            own.extend(batch.iter().map(|transaction| *transaction.tx_hash()));
            own.drain(..own.len().saturating_sub(REPEATED_MAX));
        } else {
            repeat_at = context.current() + REPEAT;
            pool.with(|pool| {
                own.retain(|hash| pool.get(hash).is_some());
                batch.extend(own.iter().take(COUNT_MAX).filter_map(|hash| pool.get(hash).cloned()));
            });
        }
        for message in messages(&batch) {
            let reached = sender.send(Recipients::All, message.encode(), false);
            debug!(peers = reached.len(), transactions = message.0.len(), "passed transactions on");
        }
    }
}

/// Transactions as messages within the limits.
fn messages(transactions: &[Recovered<TxEnvelope>]) -> Vec<Batch> {
    let mut messages: Vec<Batch> = vec![];
    let mut length = MESSAGE_BYTES_MAX;
    for bytes in transactions.iter().map(encode) {
        length += bytes.len();
        match messages.last_mut() {
            Some(last) if length <= MESSAGE_BYTES_MAX && last.0.len() < COUNT_MAX => last.0.push(bytes),
            _ => {
                length = bytes.len();
                messages.push(Batch(vec![bytes]));
            }
        }
    }
    messages
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
                let pool = pool.clone();
                strategy.spawn(count, move |strategy| decode(&strategy, batch, &pool)).await
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
