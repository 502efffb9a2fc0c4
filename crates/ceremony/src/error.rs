//! Why a ceremony gave no network.

use alloy_primitives::B256;

/// What a founder could not record, and why.
pub type RecordError = Box<dyn std::error::Error + Send + Sync>;

/// Why a ceremony gave no network, or ended before all founders had it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failed {
    /// Too few founders took part for long enough.
    #[error(
        "the founders made no key: too few of them took part to the end. Make a new plan (another time makes another \
         plan) when all of them are there"
    )]
    NoKey,
    /// More shares became known to the other founders than the plan allows.
    #[error(
        "{} of the shares became known to the other founders, the plan allows {allowed}: {}. These founders were away, or \
         let themselves seem so. Make a new plan (another time makes another plan), with them or without",
        .founders.len(),
        .founders.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    Revealed {
        /// Whose shares they are.
        founders: Vec<B256>,
        /// How many may be.
        allowed: u32,
    },
    /// What a third of the founders or more agreed on is not what the plan says.
    #[error(
        "the other founders agreed on a key that is not of this plan: more than a third of them break the protocol"
    )]
    Foreign,
    /// The outcome could not be recorded.
    #[error("the outcome could not be recorded: {0}")]
    Record(#[source] RecordError),
    /// It has recorded the outcome, and none of the others is heard any more.
    #[error("it has the outcome, and the others are gone")]
    Alone,
    /// It was asked to stop.
    #[error("it was asked to stop")]
    Asked,
    /// A part of it ended.
    #[error("a part of it ended; its log says which")]
    Ended,
    /// Something that must not fail did.
    #[error("{0}")]
    Panic(String),
}
