//! What those who follow the chain ask of a node.

use std::{sync::Arc, time::Duration};

use alloy_primitives::{Bytes, U64};
use jsonrpsee::{
    Extensions,
    types::{ErrorObjectOwned, Params},
};

use super::{Json, Table, answered};
use crate::{FollowQuestion, RpcError, arguments::Arguments, hosts::OverWebSocket, node::Node};

/// Longest wait for news, in milliseconds.
const WAIT_MS_MAX: u64 = 30_000;
/// Bytes of the longest request for a range of the state log.
const RANGE_REQUEST_BYTES_MAX: usize = 64;

pub(super) fn register(table: &mut Table) {
    table.following("veracity_latestFinalization", latest);
    table.following("veracity_getConsensusBlock", |params, node| {
        one(params, node, |arguments| arguments.next("hash").map(FollowQuestion::Block))
    });
    table.following("veracity_getFinalizedBlock", |params, node| {
        one(params, node, |arguments| {
            let height: U64 = arguments.next("height")?;
            Ok(FollowQuestion::Finalized(height.to()))
        })
    });
    table.following("veracity_getStateRange", |params, node| {
        one(params, node, |arguments| {
            let request: Bytes = arguments.next("request")?;
            if request.len() > RANGE_REQUEST_BYTES_MAX {
                return Err(arguments.refuse("request", "longer than any request for a range"));
            }
            Ok(FollowQuestion::State(request))
        })
    });
}

impl Table {
    /// Answers a follower, which may take long. Over HTTP only: there a connection has one question and one answer at a
    /// time, and connections are limited.
    fn following<F: Future<Output = Result<Json, ErrorObjectOwned>> + Send + 'static>(
        &mut self,
        name: &'static str,
        answer: fn(Params<'static>, Arc<Node>) -> F,
    ) {
        let registered =
            self.module.register_async_method(name, move |params, node, extensions: Extensions| async move {
                if extensions.get::<OverWebSocket>().is_some() {
                    return Err(RpcError::HttpOnly.into());
                }
                answer(params, Arc::clone(&node)).await
            });
        registered.expect("names differ");
    }
}

async fn one(
    params: Params<'static>,
    node: Arc<Node>,
    read: fn(&mut Arguments<'_>) -> Result<FollowQuestion, RpcError>,
) -> Result<Json, ErrorObjectOwned> {
    let question = Arguments::new(&params).and_then(|mut arguments| read(&mut arguments))?;
    answered(ask(&node, question).await)
}

async fn ask(node: &Node, question: FollowQuestion) -> Result<Option<Bytes>, RpcError> {
    let follow = node.follow.as_ref().ok_or(RpcError::NoConsensus)?;
    let _place = node.followers.acquire().await.map_err(|_| RpcError::Internal)?;
    Ok(follow.ask(question).await)
}

/// Waits until there is a block above a height before it answers, if it is asked to.
async fn latest(params: Params<'static>, node: Arc<Node>) -> Result<Json, ErrorObjectOwned> {
    let (above, wait_ms) = Arguments::new(&params).and_then(|mut arguments| {
        let above: Option<U64> = arguments.optional("above")?;
        let wait_ms: Option<U64> = arguments.optional("waitMs")?;
        Ok((above.map_or(0, |above| above.to()), wait_ms.map_or(0, |wait_ms| wait_ms.to())))
    })?;
    let mut head = node.chain.watch();
    let news = head.wait_for(|head| head.number() > above);
    // If nothing comes, the answer is the one that was the latest before.
    let _ = tokio::time::timeout(Duration::from_millis(wait_ms.min(WAIT_MS_MAX)), news).await;
    answered(ask(&node, FollowQuestion::Latest).await)
}
