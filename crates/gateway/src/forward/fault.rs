use std::time::Duration;

use veracity_receipt::ReceiptId;

/// What is wrong with a worker, in the order in which it is found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WorkerFault {
    #[error("its address is not public")]
    PrivateAddress,
    #[error("it cannot be reached: {reason}")]
    Unreachable { reason: String },
    #[error("it did not answer in time")]
    TimedOut,
    #[error("it is busy")]
    Busy,
    #[error("it does not serve the model")]
    NotServed,
    #[error("it does not serve the model, and said before that it does")]
    Withdrawn,
    #[error("it answers with HTTP status {status}, which says nothing about the request")]
    Status { status: u16 },
    #[error("its answer has more than {max} bytes")]
    TooLong { max: u64 },
    #[error("its answer has a header {name} that is none")]
    BadHeader { name: &'static str },
    #[error("what it says about the model is not what the protocol has")]
    BadDescription,
    #[error("its answer has no receipt")]
    NoReceipt,
    #[error("its receipt does not fit the answer: {reason}")]
    WrongReceipt { reason: String },
    #[error("its receipt has no sequence, so it cannot be anchored")]
    Unnumbered,
    #[error("its receipt was issued {age_s} s ago")]
    OldReceipt { age_s: u64 },
    #[error("its receipt {id} was given for an answer before")]
    Replayed { id: ReceiptId },
    #[error("it refused with '{code}', and there was no time to ask another worker whether that is so")]
    Unconfirmed { code: &'static str },
}

/// What follows from a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// Nothing: an honest worker does this.
    None,
    /// Asked last for a moment, which doubles with each time in a row: an honest worker does this under load.
    Rest(Duration),
    /// Asked last for a moment, which doubles with each fault in a row.
    Pause(Duration),
    /// Put aside for long: no honest worker does this.
    Lie,
}

impl WorkerFault {
    pub(crate) fn consequence(&self) -> Consequence {
        match self {
            // Nobody signs a refusal, and whoever answers what was refused may be the liar.
            Self::NotServed | Self::Unconfirmed { .. } => Consequence::None,
            Self::Busy => Consequence::Rest(REST),
            Self::PrivateAddress
            | Self::Unreachable { .. }
            | Self::TimedOut
            | Self::Status { .. }
            | Self::TooLong { .. }
            | Self::BadHeader { .. }
            | Self::BadDescription
            | Self::Withdrawn => Consequence::Pause(PAUSE),
            Self::NoReceipt
            | Self::WrongReceipt { .. }
            | Self::Unnumbered
            | Self::OldReceipt { .. }
            | Self::Replayed { .. } => Consequence::Lie,
        }
    }

    /// Whether it only says that the worker cannot take this request now.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Busy | Self::NotServed | Self::Withdrawn)
    }

    /// Label in metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::PrivateAddress => "private_address",
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Busy => "busy",
            Self::NotServed => "not_served",
            Self::Withdrawn => "withdrawn",
            Self::Status { .. } => "status",
            Self::TooLong { .. } => "too_long",
            Self::BadHeader { .. } => "bad_header",
            Self::BadDescription => "bad_description",
            Self::NoReceipt => "no_receipt",
            Self::WrongReceipt { .. } => "wrong_receipt",
            Self::Unnumbered => "unnumbered",
            Self::OldReceipt { .. } => "old_receipt",
            Self::Replayed { .. } => "replayed",
            Self::Unconfirmed { .. } => "unconfirmed",
        }
    }
}

/// Pause after the first fault of a worker; it doubles with each one in a row.
const PAUSE: Duration = Duration::from_millis(500);
/// The same for one that is busy.
const REST: Duration = Duration::from_millis(100);
const DOUBLINGS_MAX: u32 = 7;

/// How long a worker is put aside after so many faults in a row, at least one, if it is so long after the first.
pub(crate) fn pause(first: Duration, failures: u32) -> Duration {
    first * (1 << failures.saturating_sub(1).min(DOUBLINGS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let pauses = [1, 2, 3, 8, 9, u32::MAX].map(|n| pause(PAUSE, n).as_millis());
        assert_eq!(pauses, [500, 1000, 2000, 64_000, 64_000, 64_000]);
        assert_eq!(pause(REST, u32::MAX).as_millis(), 12_800);
    }
}
