//! What answers those who follow this node over its JSON-RPC.

use veracity_consensus::{Question, Source};
use veracity_rpc::{Follow, FollowAnswer, FollowQuestion};

/// The consensus of this node, as the server sees it.
pub(crate) struct Followed(pub(crate) Source);

impl Follow for Followed {
    fn ask(&self, question: FollowQuestion) -> FollowAnswer {
        let source = self.0.clone();
        let question = match question {
            // The server has waited already.
            FollowQuestion::Latest => Question::Latest { above: 0 },
            FollowQuestion::Block(hash) => Question::Block(hash),
            FollowQuestion::Finalized(height) => Question::Finalized(height),
            FollowQuestion::State(request) => Question::State(request.0),
        };
        Box::pin(async move { source.ask(question).await.ok().flatten().map(Into::into) })
    }
}
