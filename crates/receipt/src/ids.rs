//! The 32-byte values that a receipt names, each its own type, and the contexts of their hashes (specification,
//! section 3).

use std::{fmt, str::FromStr};

use crate::IdError;

/// BLAKE3 context of [`RequestHash`].
pub(crate) const REQUEST_CONTEXT: &str = "veracity request v1";
/// BLAKE3 context of [`ResponseHash`].
pub(crate) const RESPONSE_CONTEXT: &str = "veracity response v1";
/// BLAKE3 context of [`ReceiptId`].
pub(crate) const RECEIPT_ID_CONTEXT: &str = "veracity receipt id v1";

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The value with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        /// 64 lower-case hex digits.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                crate::ids::write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        /// The inverse of `Display`: exactly 64 lower-case hex digits.
        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                crate::ids::parse_hex(text).map(Self)
            }
        }
    };
}
pub(crate) use id;

id! {
    /// Names a model: the hash of its canonical manifest. Opaque here; the graph format defines it.
    ModelId
}
id! {
    /// Hash of a request: of its body and of what decides how the body is read. See [`Request::hash`](crate::Request::hash).
    RequestHash
}
id! {
    /// Hash of a response. See [`Response::hash`](crate::Response::hash).
    ResponseHash
}
id! {
    /// Commitment to the checkpoints of one run. Opaque here; the trace format defines it.
    TraceRoot
}
id! {
    /// Names one receipt: the hash of its encoded bytes, evidence left out. See [`Receipt::id`](crate::Receipt::id).
    ReceiptId
}

pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads 64 lower-case hex digits. Upper case is refused, so that one id has one text.
pub(crate) fn parse_hex(text: &str) -> Result<[u8; 32], IdError> {
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let pairs: &[[u8; 2]; 32] = match (pairs.try_into(), odd) {
        (Ok(pairs), []) => pairs,
        _ => return Err(IdError::Length { found: text.len() }),
    };
    let mut bytes = [0; 32];
    for (index, (byte, &[high, low])) in bytes.iter_mut().zip(pairs).enumerate() {
        let (Some(high), Some(low)) = (hex_digit(high), hex_digit(low)) else {
            return Err(IdError::Digit { pair: index });
        };
        *byte = (high << 4) | low;
    }
    Ok(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'a'..=b'f' => digit.checked_sub(b'a')?.checked_add(10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_inverse() {
        let id = ModelId::from_bytes(*blake3::hash(b"any").as_bytes());
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(ModelId::from_bytes([0xa5; 32]).to_string(), "a5".repeat(32));
        assert_eq!(format!("{:?}", ModelId::from_bytes([1; 32])), format!("ModelId({})", "01".repeat(32)));
    }

    #[test]
    fn other_texts_are_refused() {
        let length = |text: &str| text.parse::<ModelId>().unwrap_err().to_string();
        assert_eq!(length(""), "an id has 64 hex digits, this text has 0 bytes");
        assert_eq!(length(&"a".repeat(63)), "an id has 64 hex digits, this text has 63 bytes");
        assert_eq!(length(&"a".repeat(66)), "an id has 64 hex digits, this text has 66 bytes");
        let upper = format!("{}AB", "00".repeat(31));
        assert_eq!(length(&upper), "the digits of byte 31 are not lower-case hex");
        assert_eq!(length(&format!("0g{}", "00".repeat(31))), "the digits of byte 0 are not lower-case hex");
    }
}
