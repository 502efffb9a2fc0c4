//! The part of deterministic CBOR (RFC 8949, section 4.2.1) that a receipt uses: writing it, and reading nothing else.
//!
//! The reader is asked for one item after the other and refuses any other item, so it neither recurses nor skips, and
//! the bytes it accepted are those that the writer makes of the values it returned. General decoders accept more than
//! one encoding of a value; `tests/it/cose.rs` checks this one against `coset`.

use crate::DecodeError;

const UNSIGNED: u8 = 0x00;
const NEGATIVE: u8 = 0x20;
const BYTES: u8 = 0x40;
const TEXT: u8 = 0x60;
const ARRAY: u8 = 0x80;
const MAP: u8 = 0xa0;
const TAG: u8 = 0xc0;
const MAJOR_MASK: u8 = 0xe0;

type Result<T> = std::result::Result<T, DecodeError>;

/// A length as a number. `usize` has at most 64 bits on every target of Rust.
pub(crate) fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Writes items one after the other.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn unsigned(&mut self, value: u64) {
        self.head(UNSIGNED, value);
    }

    /// The integer `-1 - n`.
    pub(crate) fn negative(&mut self, n: u64) {
        self.head(NEGATIVE, n);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.head(BYTES, to_u64(bytes.len()));
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.head(TEXT, to_u64(text.len()));
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Begins an array; the caller writes its `n_items` items.
    pub(crate) fn array(&mut self, n_items: u64) {
        self.head(ARRAY, n_items);
    }

    pub(crate) fn tag(&mut self, tag: u64) {
        self.head(TAG, tag);
    }

    pub(crate) fn map(&mut self, map: MapWriter) {
        self.head(MAP, map.n_entries);
        self.bytes.extend(map.entries.bytes);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// The shortest form of an item's head (RFC 8949, section 3).
    fn head(&mut self, major: u8, value: u64) {
        let [.., b4, b5, b6, b7] = value.to_be_bytes();
        match value {
            0..=23 => self.bytes.push(major | b7),
            24..=0xff => self.bytes.extend([major | 24, b7]),
            0x100..=0xffff => self.bytes.extend([major | 25, b6, b7]),
            0x1_0000..=0xffff_ffff => self.bytes.extend([major | 26, b4, b5, b6, b7]),
            _ => {
                self.bytes.push(major | 27);
                self.bytes.extend(value.to_be_bytes());
            }
        }
    }
}

/// Collects the entries of a map. The caller adds them in ascending order of their keys.
#[derive(Default)]
pub(crate) struct MapWriter {
    n_entries: u64,
    entries: Writer,
}

impl MapWriter {
    pub(crate) fn entry(&mut self, key: u64, write: impl FnOnce(&mut Writer)) {
        self.n_entries = self.n_entries.saturating_add(1);
        self.entries.unsigned(key);
        write(&mut self.entries);
    }

    pub(crate) fn optional<T>(&mut self, key: u64, value: Option<T>, write: impl FnOnce(&mut Writer, T)) {
        if let Some(value) = value {
            self.entry(key, |writer| write(writer, value));
        }
    }
}

/// Reads items one after the other. Offsets in errors count from the first byte of the receipt.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`, which stand at `offset` of the receipt.
    pub(crate) fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { rest: bytes, offset }
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn unsigned(&mut self) -> Result<u64> {
        self.expect(UNSIGNED)
    }

    /// An integer of either sign: `-2^64..2^64`.
    pub(crate) fn integer(&mut self) -> Result<i128> {
        if self.peek_major() == Some(NEGATIVE) {
            return Ok((-1_i128).saturating_sub(i128::from(self.expect(NEGATIVE)?)));
        }
        Ok(i128::from(self.expect(UNSIGNED)?))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.expect(BYTES)?;
        self.take(length)
    }

    pub(crate) fn bytes_exact<const N: usize>(&mut self) -> Result<[u8; N]> {
        let offset = self.offset;
        let bytes = self.bytes()?;
        bytes.try_into().map_err(|_| DecodeError::WrongLength { offset, expected: N, found: bytes.len() })
    }

    pub(crate) fn text(&mut self) -> Result<&'a str> {
        let offset = self.offset;
        let length = self.expect(TEXT)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError::NotUtf8 { offset })
    }

    /// Begins an array that must have `expected` items.
    pub(crate) fn array(&mut self, expected: u64) -> Result<()> {
        let offset = self.offset;
        match self.expect(ARRAY)? {
            found if found == expected => Ok(()),
            found => Err(DecodeError::WrongArray { offset, expected, found }),
        }
    }

    pub(crate) fn tag(&mut self, expected: u64) -> Result<()> {
        match self.expect(TAG)? {
            found if found == expected => Ok(()),
            found => Err(DecodeError::WrongTag { expected, found }),
        }
    }

    /// Begins a map and returns the number of its entries.
    pub(crate) fn map_length(&mut self) -> Result<u64> {
        self.expect(MAP)
    }

    /// Begins a map whose entries are asked for in ascending order of their keys. `map` names it in errors.
    pub(crate) fn map(&mut self, map: &'static str) -> Result<MapReader<'_, 'a>> {
        let remaining = self.expect(MAP)?;
        Ok(MapReader { reader: self, map, remaining })
    }

    /// Ends reading; `part` names in errors what must end here.
    pub(crate) fn finish(self, part: &'static str) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            n_bytes => Err(DecodeError::TrailingBytes { part, offset: self.offset, n_bytes }),
        }
    }

    /// Reads the head of an item that must be of this type and returns its value or length.
    fn expect(&mut self, major: u8) -> Result<u64> {
        let offset = self.offset;
        let [initial] = self.take_array()?;
        if initial & MAJOR_MASK != major {
            let (expected, found) = (major_name(major), major_name(initial));
            return Err(DecodeError::WrongType { offset, expected, found });
        }
        // The least value that needs each form; a smaller one has a shorter form.
        let (value, least) = match initial & !MAJOR_MASK {
            small @ 0..=23 => (u64::from(small), 0),
            24 => (u64::from(u8::from_be_bytes(self.take_array()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.take_array()?)), 0x100),
            26 => (u64::from(u32::from_be_bytes(self.take_array()?)), 0x1_0000),
            27 => (u64::from_be_bytes(self.take_array()?), 0x1_0000_0000),
            _ => return Err(DecodeError::Indefinite { offset }),
        };
        if value < least { Err(DecodeError::NotShortest { offset }) } else { Ok(value) }
    }

    fn peek_major(&self) -> Option<u8> {
        self.rest.first().map(|initial| initial & MAJOR_MASK)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let truncated = DecodeError::Truncated { offset: self.offset, needed: length, left: self.rest.len() };
        let Ok(length) = usize::try_from(length) else { return Err(truncated) };
        let Some((head, rest)) = self.rest.split_at_checked(length) else { return Err(truncated) };
        self.rest = rest;
        self.offset = self.offset.saturating_add(length);
        Ok(head)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let truncated =
            DecodeError::Truncated { offset: self.offset, needed: to_u64(N), left: self.rest.len() };
        self.take(to_u64(N))?.try_into().map_err(|_| truncated)
    }
}

/// Reads the entries of one map.
pub(crate) struct MapReader<'r, 'a> {
    reader: &'r mut Reader<'a>,
    map: &'static str,
    remaining: u64,
}

impl<'a> MapReader<'_, 'a> {
    pub(crate) fn required<T>(
        &mut self,
        key: u64,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T>,
    ) -> Result<T> {
        let map = self.map;
        self.optional(key, read)?.ok_or(DecodeError::MissingKey { map, key })
    }

    pub(crate) fn optional<T>(
        &mut self,
        key: u64,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut ahead = self.reader.clone();
        match self.next_key(&mut ahead)? {
            Some(found) if found == key => {
                *self.reader = ahead;
                self.remaining = self.remaining.saturating_sub(1);
                read(self.reader).map(Some)
            }
            Some(found) if found < key => Err(self.unexpected(found)),
            Some(_) | None => Ok(None),
        }
    }

    /// Ends the map. All keys that may occur have been asked for in order, so one that is left is unknown, repeated or
    /// out of order.
    pub(crate) fn finish(self) -> Result<()> {
        match self.next_key(&mut self.reader.clone())? {
            Some(found) => Err(self.unexpected(found)),
            None => Ok(()),
        }
    }

    fn next_key(&self, ahead: &mut Reader<'a>) -> Result<Option<u64>> {
        if self.remaining == 0 { Ok(None) } else { ahead.unsigned().map(Some) }
    }

    fn unexpected(&self, key: u64) -> DecodeError {
        DecodeError::UnexpectedKey { map: self.map, key, offset: self.reader.offset }
    }
}

fn major_name(initial: u8) -> &'static str {
    match initial & MAJOR_MASK {
        UNSIGNED => "an unsigned integer",
        NEGATIVE => "a negative integer",
        BYTES => "a byte string",
        TEXT => "a text string",
        ARRAY => "an array",
        MAP => "a map",
        TAG => "a tag",
        _ => "a simple value or float",
    }
}
