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
    #[error("it refused with '{code}' what another worker answered")]
    FalseRefusal { code: &'static str },
}

/// What follows from a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// Nothing: an honest worker does this.
    None,
    /// Put aside for a moment that doubles with each time in a row.
    Pause,
    /// Put aside for long: no honest worker does this.
    Lie,
}

impl WorkerFault {
    pub(crate) fn consequence(&self) -> Consequence {
        match self {
            Self::Busy | Self::NotServed => Consequence::None,
            Self::PrivateAddress
            | Self::Unreachable { .. }
            | Self::TimedOut
            | Self::Status { .. }
            | Self::TooLong { .. }
            | Self::BadHeader { .. }
            | Self::BadDescription => Consequence::Pause,
            Self::NoReceipt
            | Self::WrongReceipt { .. }
            | Self::Unnumbered
            | Self::OldReceipt { .. }
            | Self::Replayed { .. }
            | Self::FalseRefusal { .. } => Consequence::Lie,
        }
    }

    /// Label in metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::PrivateAddress => "private_address",
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Busy => "busy",
            Self::NotServed => "not_served",
            Self::Status { .. } => "status",
            Self::TooLong { .. } => "too_long",
            Self::BadHeader { .. } => "bad_header",
            Self::BadDescription => "bad_description",
            Self::NoReceipt => "no_receipt",
            Self::WrongReceipt { .. } => "wrong_receipt",
            Self::Unnumbered => "unnumbered",
            Self::OldReceipt { .. } => "old_receipt",
            Self::Replayed { .. } => "replayed",
            Self::FalseRefusal { .. } => "false_refusal",
        }
    }
}

/// Pause after the first fault of a worker; it doubles with each one in a row.
const PAUSE: Duration = Duration::from_millis(500);
const DOUBLINGS_MAX: u32 = 7;

/// How long a worker is put aside after so many faults in a row, at least one.
pub(crate) fn pause(failures: u32) -> Duration {
    PAUSE * (1 << failures.saturating_sub(1).min(DOUBLINGS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let pauses = [1, 2, 3, 8, 9, u32::MAX].map(|n| pause(n).as_millis());
        assert_eq!(pauses, [500, 1000, 2000, 64_000, 64_000, 64_000]);
    }
}
