//! `eth_subscribe`: what is new is sent as it comes.
//!
//! Each subscription remembers the height that it has sent, and reads on from there: a client that is slow, or a burst of
//! blocks, delays what it hears, but leaves nothing out.

use std::sync::Arc;

use alloy_rpc_types_eth::Filter;
use jsonrpsee::{PendingSubscriptionSink, SubscriptionSink, types::Params};
use serde::Serialize;
use serde_json::value::to_raw_value;
use tokio::sync::broadcast::error::RecvError;

use crate::{Finalized, RpcError, arguments::Arguments, convert, logs, node::Node};

/// What a client subscribes to.
enum Topic {
    Heads,
    Logs(Box<Filter>),
    /// Hashes of transactions, or whole ones.
    Transactions {
        is_full: bool,
    },
    Syncing,
}

pub(crate) async fn subscribe(params: Params<'static>, pending: PendingSubscriptionSink, node: Arc<Node>) {
    let topic = match topic(&params) {
        Ok(topic) => topic,
        Err(error) => return pending.reject(error).await,
    };
    // Before the client hears that it is subscribed, so that it misses nothing after.
    let mut head = node.chain.watch();
    let next = head.borrow_and_update().number() + 1;
    let ready = node.pool.ready();
    let Ok(sink) = pending.accept().await else { return };
    match topic {
        Topic::Heads => blocks(&node, &sink, head, next, |block| vec![convert::header(block)]).await,
        Topic::Logs(filter) => {
            blocks(&node, &sink, head, next, |block| logs::matching(&filter, block)).await;
        }
        Topic::Transactions { is_full } => transactions(&sink, ready, is_full).await,
        // Blocks come when they are final: there is nothing to catch up with that this node knows of.
        Topic::Syncing => {
            send(&sink, &false).await;
            sink.closed().await;
        }
    }
}

fn topic(params: &Params<'_>) -> Result<Topic, RpcError> {
    let mut arguments = Arguments::new(params)?;
    let kind: String = arguments.next("subscription")?;
    match kind.as_str() {
        "newHeads" => Ok(Topic::Heads),
        "logs" => {
            let filter: Filter = arguments.optional("filter")?.unwrap_or_default();
            logs::check(&filter)?;
            Ok(Topic::Logs(Box::new(filter)))
        }
        "newPendingTransactions" => {
            Ok(Topic::Transactions { is_full: arguments.optional("fullTransactions")?.unwrap_or_default() })
        }
        "syncing" => Ok(Topic::Syncing),
        _ => Err(RpcError::Subscription { kind: kind.chars().take(64).collect() }),
    }
}

/// Sends what `select` takes from each block from `next` on.
async fn blocks<T: Serialize>(
    node: &Arc<Node>,
    sink: &SubscriptionSink,
    mut head: tokio::sync::watch::Receiver<Arc<Finalized>>,
    mut next: u64,
    select: impl Fn(&Finalized) -> Vec<T>,
) {
    loop {
        let latest = head.borrow_and_update().number();
        while next <= latest {
            let Some(block) = load(node, next).await else { return };
            for item in select(&block) {
                if !send(sink, &item).await {
                    return;
                }
            }
            next += 1;
        }
        tokio::select! {
            () = sink.closed() => return,
            changed = head.changed() => if changed.is_err() { return },
        }
    }
}

async fn load(node: &Arc<Node>, height: u64) -> Option<Arc<Finalized>> {
    let head = node.chain.head();
    if head.number() == height {
        return Some(head);
    }
    let node = Arc::clone(node);
    let loaded = tokio::task::spawn_blocking(move || node.chain.block(height)).await;
    match loaded {
        Ok(Ok(block)) => block,
        Ok(Err(error)) => {
            tracing::error!(%error, height, "rpc.subscription");
            None
        }
        Err(_) => None,
    }
}

async fn transactions(
    sink: &SubscriptionSink,
    mut ready: tokio::sync::broadcast::Receiver<
        alloy_consensus::transaction::Recovered<alloy_consensus::TxEnvelope>,
    >,
    is_full: bool,
) {
    loop {
        let transaction = tokio::select! {
            () = sink.closed() => return,
            transaction = ready.recv() => transaction,
        };
        let is_sent = match transaction {
            Ok(transaction) if is_full => send(sink, &convert::waiting(transaction)).await,
            Ok(transaction) => send(sink, transaction.tx_hash()).await,
            // More came than are kept: they are not in blocks yet, so nothing relies on hearing of all.
            Err(RecvError::Lagged(_)) => true,
            Err(RecvError::Closed) => false,
        };
        if !is_sent {
            return;
        }
    }
}

/// Whether the client is still there.
async fn send(sink: &SubscriptionSink, item: &impl Serialize) -> bool {
    match to_raw_value(item) {
        Ok(json) => sink.send(json).await.is_ok(),
        Err(error) => {
            tracing::error!(%error, "rpc.subscription");
            false
        }
    }
}
