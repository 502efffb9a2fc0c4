//! The part of deterministic CBOR (RFC 8949, section 4.2.1) that evidence and receipts use: writing it, and reading
//! nothing else.
//!
//! The reader is asked for one item after the other and refuses any other item, so it neither recurses nor skips, and
//! the bytes it accepted are those that the writer makes of the values it returned. General decoders accept more than
//! one encoding of a value; tests of this crate and of `receipt` check this one against `ciborium` and `coset`.

use thiserror::Error;

const UNSIGNED: u8 = 0x00;
const NEGATIVE: u8 = 0x20;
const BYTES: u8 = 0x40;
const TEXT: u8 = 0x60;
const ARRAY: u8 = 0x80;
const MAP: u8 = 0xa0;
const TAG: u8 = 0xc0;
const MAJOR_MASK: u8 = 0xe0;

type Result<T> = std::result::Result<T, CborError>;

/// Why bytes are not the CBOR that belongs there. Offsets count from the first byte of the whole.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CborError {
    /// The bytes end inside an item.
    #[error("{needed} bytes are needed at byte {offset}, only {left} are left")]
    Truncated {
        /// Where they are needed.
        offset: usize,
        /// How many, as claimed by the item.
        needed: u64,
        /// How many there are.
        left: usize,
    },
    /// An item of another type stands here.
    #[error("expected {expected} at byte {offset}, found {found}")]
    WrongType {
        /// Where.
        offset: usize,
        /// The type that belongs here.
        expected: &'static str,
        /// The type that stands here.
        found: &'static str,
    },
    /// An integer or length is not in its shortest form.
    #[error("the integer or length at byte {offset} is not in its shortest form")]
    NotShortest {
        /// Where.
        offset: usize,
    },
    /// A length is indefinite, or the head of the item is reserved.
    #[error("the item at byte {offset} has an indefinite length or a reserved head")]
    Indefinite {
        /// Where.
        offset: usize,
    },
    /// A text string is not UTF-8.
    #[error("the text at byte {offset} is not UTF-8")]
    NotUtf8 {
        /// Where.
        offset: usize,
    },
    /// A byte string of fixed length has another one.
    #[error("the byte string at byte {offset} must have {expected} bytes, it has {found}")]
    WrongLength {
        /// Where.
        offset: usize,
        /// Bytes it must have.
        expected: usize,
        /// Bytes it has.
        found: usize,
    },
    /// An array has another number of items.
    #[error("the array at byte {offset} must have {expected} items, it has {found}")]
    WrongArray {
        /// Where.
        offset: usize,
        /// Items it must have.
        expected: u64,
        /// Items it claims.
        found: u64,
    },
    /// A key is missing from a map.
    #[error("the {map} lacks key {key}")]
    MissingKey {
        /// Which map.
        map: &'static str,
        /// Which key.
        key: u64,
    },
    /// A map has a key that does not belong at this place.
    #[error("key {key} of the {map} at byte {offset} is unknown, repeated or out of order")]
    UnexpectedKey {
        /// Which map.
        map: &'static str,
        /// Which key.
        key: u64,
        /// Where.
        offset: usize,
    },
    /// Bytes follow where a part must end.
    #[error("{n_bytes} bytes follow the end of the {part} at byte {offset}")]
    TrailingBytes {
        /// Which part.
        part: &'static str,
        /// Where it should end.
        offset: usize,
        /// How many bytes follow.
        n_bytes: usize,
    },
}

/// A length as a number. `usize` has at most 64 bits on every target of Rust.
#[must_use]
pub fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Writes items one after the other.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A non-negative integer.
    pub fn unsigned(&mut self, value: u64) {
        self.head(UNSIGNED, value);
    }

    /// The integer `-1 - n`.
    pub fn negative(&mut self, n: u64) {
        self.head(NEGATIVE, n);
    }

    /// A byte string.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.head(BYTES, to_u64(bytes.len()));
        self.bytes.extend_from_slice(bytes);
    }

    /// A text string.
    pub fn text(&mut self, text: &str) {
        self.head(TEXT, to_u64(text.len()));
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Begins an array; the caller writes its `n_items` items.
    pub fn array(&mut self, n_items: u64) {
        self.head(ARRAY, n_items);
    }

    /// A tag; the caller writes its content.
    pub fn tag(&mut self, tag: u64) {
        self.head(TAG, tag);
    }

    /// A map.
    pub fn map(&mut self, map: MapWriter) {
        self.head(MAP, map.n_entries);
        self.bytes.extend(map.entries.bytes);
    }

    /// The bytes written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
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
#[derive(Debug, Default)]
pub struct MapWriter {
    n_entries: u64,
    entries: Writer,
}

impl MapWriter {
    /// Adds an entry.
    pub fn entry(&mut self, key: u64, write: impl FnOnce(&mut Writer)) {
        self.n_entries = self.n_entries.saturating_add(1);
        self.entries.unsigned(key);
        write(&mut self.entries);
    }

    /// Adds an entry if there is a value.
    pub fn optional<T>(&mut self, key: u64, value: Option<T>, write: impl FnOnce(&mut Writer, T)) {
        if let Some(value) = value {
            self.entry(key, |writer| write(writer, value));
        }
    }
}

/// Reads items one after the other. Offsets in errors count from the first byte of the whole.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`, which stand at `offset` of the whole.
    #[must_use]
    pub fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { rest: bytes, offset }
    }

    /// Where the next item begins.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// A non-negative integer.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn unsigned(&mut self) -> Result<u64> {
        self.expect(UNSIGNED)
    }

    /// An integer of either sign: `-2^64..2^64`.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn integer(&mut self) -> Result<i128> {
        if self.peek_major() == Some(NEGATIVE) {
            return Ok((-1_i128).saturating_sub(i128::from(self.expect(NEGATIVE)?)));
        }
        Ok(i128::from(self.expect(UNSIGNED)?))
    }

    /// A byte string.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.expect(BYTES)?;
        self.take(length)
    }

    /// A byte string of `N` bytes.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn bytes_exact<const N: usize>(&mut self) -> Result<[u8; N]> {
        let offset = self.offset;
        let bytes = self.bytes()?;
        bytes.try_into().map_err(|_| CborError::WrongLength { offset, expected: N, found: bytes.len() })
    }

    /// A text string.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn text(&mut self) -> Result<&'a str> {
        let offset = self.offset;
        let length = self.expect(TEXT)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| CborError::NotUtf8 { offset })
    }

    /// Begins an array that must have `expected` items.
    ///
    /// # Errors
    /// [`CborError`] if it has another number, or if something else stands here.
    pub fn array(&mut self, expected: u64) -> Result<()> {
        let offset = self.offset;
        match self.expect(ARRAY)? {
            found if found == expected => Ok(()),
            found => Err(CborError::WrongArray { offset, expected, found }),
        }
    }

    /// A tag, whose content follows.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn tag(&mut self) -> Result<u64> {
        self.expect(TAG)
    }

    /// Begins an array and returns the number of items that it claims.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn array_length(&mut self) -> Result<u64> {
        self.expect(ARRAY)
    }

    /// Begins a map and returns the number of entries that it claims.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn map_length(&mut self) -> Result<u64> {
        self.expect(MAP)
    }

    /// Begins a map whose entries are asked for in ascending order of their keys. `map` names it in errors.
    ///
    /// # Errors
    /// [`CborError`] if something else stands here.
    pub fn map(&mut self, map: &'static str) -> Result<MapReader<'_, 'a>> {
        let remaining = self.expect(MAP)?;
        Ok(MapReader { reader: self, map, remaining })
    }

    /// Ends reading; `part` names in errors what must end here.
    ///
    /// # Errors
    /// [`CborError::TrailingBytes`].
    pub fn finish(self, part: &'static str) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            n_bytes => Err(CborError::TrailingBytes { part, offset: self.offset, n_bytes }),
        }
    }

    /// Reads the head of an item that must be of this type and returns its value or length.
    fn expect(&mut self, major: u8) -> Result<u64> {
        let offset = self.offset;
        let [initial] = self.take_array()?;
        if initial & MAJOR_MASK != major {
            let (expected, found) = (major_name(major), major_name(initial));
            return Err(CborError::WrongType { offset, expected, found });
        }
        // The least value that needs each form; a smaller one has a shorter form.
        let (value, least) = match initial & !MAJOR_MASK {
            small @ 0..=23 => (u64::from(small), 0),
            24 => (u64::from(u8::from_be_bytes(self.take_array()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.take_array()?)), 0x100),
            26 => (u64::from(u32::from_be_bytes(self.take_array()?)), 0x1_0000),
            27 => (u64::from_be_bytes(self.take_array()?), 0x1_0000_0000),
            _ => return Err(CborError::Indefinite { offset }),
        };
        if value < least { Err(CborError::NotShortest { offset }) } else { Ok(value) }
    }

    fn peek_major(&self) -> Option<u8> {
        self.rest.first().map(|initial| initial & MAJOR_MASK)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let truncated = CborError::Truncated { offset: self.offset, needed: length, left: self.rest.len() };
        let Ok(length) = usize::try_from(length) else { return Err(truncated) };
        let Some((head, rest)) = self.rest.split_at_checked(length) else { return Err(truncated) };
        self.rest = rest;
        self.offset = self.offset.saturating_add(length);
        Ok(head)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let truncated =
            CborError::Truncated { offset: self.offset, needed: to_u64(N), left: self.rest.len() };
        self.take(to_u64(N))?.try_into().map_err(|_| truncated)
    }
}

/// Reads the entries of one map.
#[derive(Debug)]
pub struct MapReader<'r, 'a> {
    reader: &'r mut Reader<'a>,
    map: &'static str,
    remaining: u64,
}

impl<'a> MapReader<'_, 'a> {
    /// The value of `key`, which must come next.
    ///
    /// # Errors
    /// [`CborError`] if it is missing, if a lower key stands here, or that of `read`.
    pub fn required<T, E: From<CborError>>(
        &mut self,
        key: u64,
        read: impl FnOnce(&mut Reader<'a>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let map = self.map;
        self.optional(key, read)?.ok_or_else(|| CborError::MissingKey { map, key }.into())
    }

    /// The value of `key` if it comes next.
    ///
    /// # Errors
    /// [`CborError`] if a lower key stands here, or that of `read`.
    pub fn optional<T, E: From<CborError>>(
        &mut self,
        key: u64,
        read: impl FnOnce(&mut Reader<'a>) -> std::result::Result<T, E>,
    ) -> std::result::Result<Option<T>, E> {
        let mut ahead = self.reader.clone();
        match self.next_key(&mut ahead)? {
            Some(found) if found == key => {
                *self.reader = ahead;
                self.remaining = self.remaining.saturating_sub(1);
                read(self.reader).map(Some)
            }
            Some(found) if found < key => Err(self.unexpected(found).into()),
            Some(_) | None => Ok(None),
        }
    }

    /// Ends the map. All keys that may occur have been asked for in order, so one that is left is unknown, repeated or
    /// out of order.
    ///
    /// # Errors
    /// [`CborError::UnexpectedKey`].
    pub fn finish(self) -> Result<()> {
        match self.next_key(&mut self.reader.clone())? {
            Some(found) => Err(self.unexpected(found)),
            None => Ok(()),
        }
    }

    fn next_key(&self, ahead: &mut Reader<'a>) -> Result<Option<u64>> {
        if self.remaining == 0 { Ok(None) } else { ahead.unsigned().map(Some) }
    }

    fn unexpected(&self, key: u64) -> CborError {
        CborError::UnexpectedKey { map: self.map, key, offset: self.reader.offset }
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
