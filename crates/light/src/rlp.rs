//! Reading RLP (Yellow Paper, appendix B), strictly: one value has one encoding.

use crate::RlpError;

/// One item: the bytes of a string, or those of the items of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item<'a> {
    String(&'a [u8]),
    List(&'a [u8]),
}

/// Reads items one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Items of the list that these bytes are, whole.
    pub(crate) fn of_list(bytes: &'a [u8]) -> Result<Self, RlpError> {
        let mut outer = Self { rest: bytes };
        let list = outer.list()?;
        outer.finish()?;
        Ok(list)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn finish(&self) -> Result<(), RlpError> {
        if self.is_empty() { Ok(()) } else { Err(RlpError::TrailingBytes { n_bytes: self.rest.len() }) }
    }

    /// A string.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], RlpError> {
        match self.item()? {
            Item::String(bytes) => Ok(bytes),
            Item::List(_) => Err(RlpError::WrongType { expected: "a string" }),
        }
    }

    /// A string of `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], RlpError> {
        let bytes = self.string()?;
        bytes.try_into().map_err(|_| RlpError::WrongLength { expected: N, found: bytes.len() })
    }

    /// A number of at most 64 bits: big-endian without leading zeros.
    pub(crate) fn number(&mut self) -> Result<u64, RlpError> {
        let bytes = self.string()?;
        if bytes.first() == Some(&0) {
            return Err(RlpError::NotCanonical);
        }
        number(bytes).ok_or(RlpError::TooLarge { n_bytes: bytes.len() })
    }

    /// A list.
    pub(crate) fn list(&mut self) -> Result<Self, RlpError> {
        match self.item()? {
            Item::List(rest) => Ok(Self { rest }),
            Item::String(_) => Err(RlpError::WrongType { expected: "a list" }),
        }
    }

    /// Any item.
    pub(crate) fn skip(&mut self) -> Result<(), RlpError> {
        self.item().map(drop)
    }

    fn item(&mut self) -> Result<Item<'a>, RlpError> {
        let head = *self.rest.first().ok_or(RlpError::Truncated)?;
        match head {
            0..=0x7f => Ok(Item::String(self.take(1)?)),
            0x80..=0xbf => self.payload(head, 0x80).map(Item::String),
            0xc0..=0xff => self.payload(head, 0xc0).map(Item::List),
        }
    }

    /// The payload of an item whose heads begin at `base`: up to 55 bytes the length stands in the head, beyond that
    /// in the bytes after it.
    fn payload(&mut self, head: u8, base: u8) -> Result<&'a [u8], RlpError> {
        self.take(1)?;
        let short = usize::from(head.saturating_sub(base));
        let Some(n_bytes) = short.checked_sub(55).filter(|n| *n > 0) else {
            let payload = self.take(short)?;
            let is_byte = base == 0x80 && matches!(payload, [0..=0x7f]);
            return if is_byte { Err(RlpError::NotCanonical) } else { Ok(payload) };
        };
        let length = self.take(n_bytes)?;
        let is_shortest = length.first() != Some(&0);
        let length =
            number(length).and_then(|length| usize::try_from(length).ok()).ok_or(RlpError::Truncated)?;
        if !is_shortest || length <= 55 {
            return Err(RlpError::NotCanonical);
        }
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], RlpError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(RlpError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }
}

/// A big-endian number of at most eight bytes.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    let mut padded = [0; 8];
    padded.get_mut(8_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(u64::from_be_bytes(padded))
}

/// The encoding of a number.
pub(crate) fn encode_number(value: u64) -> Vec<u8> {
    let bytes: Vec<u8> = value.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    match bytes.as_slice() {
        [0..=0x7f] => bytes,
        _ => [&[0x80_u8.saturating_add(u8::try_from(bytes.len()).unwrap_or(8))], bytes.as_slice()].concat(),
    }
}
