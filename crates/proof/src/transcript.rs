//! Challenges that depend on everything before them (Fiat-Shamir), and the bytes of a proof.
//!
//! Whatever the prover sends is absorbed as it is written, and as it is read, because there is no other way to write or
//! read it. Each item is absorbed with a label and its length, so two histories that differ anywhere are different bytes.
//! Challenges are drawn by BLAKE3 as Plonky3's `SerializingChallenger64<_, HashChallenger<u8, Blake3, 32>>` does.

use p3_blake3::Blake3;
use p3_challenger::{CanObserve, CanSample, HashChallenger, SerializingChallenger64};

use crate::{
    Base, Element,
    error::FormatError,
    field::{ELEMENT_BYTES, decode, encode},
};

/// What draws challenges.
pub type Challenger = SerializingChallenger64<Base, HashChallenger<u8, Blake3, 32>>;

/// All that prover and verifier have seen so far.
#[derive(Debug, Clone)]
pub struct Transcript {
    challenger: Challenger,
}

impl Transcript {
    /// Begins with the name of what is proven.
    #[must_use]
    pub fn new(protocol: &'static str) -> Self {
        let mut transcript = Self { challenger: Challenger::from_hasher(vec![], Blake3) };
        transcript.absorb("protocol", protocol.as_bytes());
        transcript
    }

    /// Takes note of something public, or of something that was sent.
    pub fn absorb(&mut self, label: &'static str, bytes: &[u8]) {
        for part in [label.as_bytes(), bytes] {
            // A slice has at most 2^63 bytes.
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            self.observe(&length.to_le_bytes());
            self.observe(part);
        }
    }

    fn observe(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.challenger.observe(*byte));
    }

    /// Draws an element that depends on all that was absorbed.
    pub fn challenge(&mut self, label: &'static str) -> Element {
        self.absorb(label, b"?");
        self.challenger.sample()
    }

    /// Draws elements.
    pub fn challenges(&mut self, label: &'static str, count: usize) -> Vec<Element> {
        self.absorb(label, b"?");
        (0..count).map(|_| self.challenger.sample()).collect()
    }

    /// Hands the state to the polynomial commitment, which goes on with it.
    pub fn challenger(&mut self) -> &mut Challenger {
        &mut self.challenger
    }
}

/// A proof as it is made.
#[derive(Debug)]
pub struct Writer {
    /// What was sent so far, and what is public.
    pub transcript: Transcript,
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty proof after what is public.
    #[must_use]
    pub fn new(transcript: Transcript) -> Self {
        Self { transcript, bytes: vec![] }
    }

    /// Sends elements.
    pub fn send(&mut self, label: &'static str, elements: &[Element]) {
        let start = self.bytes.len();
        elements.iter().for_each(|element| self.bytes.extend(encode(element)));
        self.transcript.absorb(label, self.bytes.get(start..).unwrap_or_default());
    }

    /// The bytes that were sent.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// A proof as it is read. It holds no lengths: how much comes next, the verifier knows.
#[derive(Debug)]
pub struct Reader<'a> {
    /// What was read so far, and what is public.
    pub transcript: Transcript,
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A proof from its beginning, after what is public.
    #[must_use]
    pub fn new(transcript: Transcript, bytes: &'a [u8]) -> Self {
        Self { transcript, bytes, offset: 0 }
    }

    /// Reads so many elements.
    ///
    /// # Errors
    /// [`FormatError::Truncated`], [`FormatError::Element`].
    pub fn receive<const N: usize>(&mut self, label: &'static str) -> Result<[Element; N], FormatError> {
        let mut elements = [Element::default(); N];
        self.receive_into(label, &mut elements)?;
        Ok(elements)
    }

    /// Reads as many elements as there is room for.
    ///
    /// # Errors
    /// [`FormatError::Truncated`], [`FormatError::Element`].
    pub fn receive_into(&mut self, label: &'static str, elements: &mut [Element]) -> Result<(), FormatError> {
        let truncated = FormatError::Truncated { offset: self.offset, label };
        let length = elements.len().checked_mul(ELEMENT_BYTES).ok_or(truncated)?;
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(truncated)?;
        let (encoded, _) = taken.as_chunks::<ELEMENT_BYTES>();
        for (element, bytes) in elements.iter_mut().zip(encoded) {
            *element = decode(bytes).ok_or(FormatError::Element { offset: self.offset, label })?;
        }
        self.transcript.absorb(label, taken);
        self.bytes = rest;
        self.offset = self.offset.saturating_add(length);
        Ok(())
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`FormatError::Trailing`].
    pub fn finish(self) -> Result<Transcript, FormatError> {
        match self.bytes.len() {
            0 => Ok(self.transcript),
            count => Err(FormatError::Trailing { count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use p3_field::PrimeCharacteristicRing;

    use super::*;

    fn two() -> [Element; 2] {
        [Element::from_u64(2), Element::from_u64(3)]
    }

    /// What the prover of [`two`] draws after it has sent them.
    fn drawn(protocol: &'static str, public: &'static str, sent: &'static str, bytes: &[u8]) -> Element {
        let mut writer = Writer::new(Transcript::new(protocol));
        writer.transcript.absorb(public, bytes);
        writer.send(sent, &two());
        writer.transcript.challenge("c")
    }

    #[test]
    fn a_reader_draws_what_the_writer_drew() {
        let mut writer = Writer::new(Transcript::new("test"));
        writer.send("a", &two());
        let drawn = writer.transcript.challenges("c", 3);
        let bytes = writer.finish();
        let mut reader = Reader::new(Transcript::new("test"), &bytes);
        assert_eq!(reader.receive::<2>("a").unwrap(), two());
        assert_eq!(reader.transcript.challenges("c", 3), drawn);
        reader.finish().unwrap();
    }

    #[test]
    fn every_item_that_is_absorbed_changes_the_next_challenge() {
        let all = [
            drawn("test", "p", "s", b"xy"),
            drawn("tesT", "p", "s", b"xy"),
            drawn("test", "q", "s", b"xy"),
            drawn("test", "p", "t", b"xy"),
            drawn("test", "p", "s", b"xz"),
            drawn("test", "p", "s", b"x"),
            // The same bytes in a row, divided otherwise.
            drawn("test", "px", "s", b"y"),
        ];
        for (index, challenge) in all.iter().enumerate() {
            assert!(!all[..index].contains(challenge), "history {index} is taken for another");
        }
    }

    #[test]
    fn challenges_with_one_label_differ() {
        let mut transcript = Transcript::new("test");
        assert_ne!(transcript.challenge("c"), transcript.challenge("c"));
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        let bytes = [encode(&Element::ONE), [0xff; ELEMENT_BYTES]].concat();
        let reader = |bytes| Reader::new(Transcript::new("test"), bytes);
        let truncated = FormatError::Truncated { offset: 0, label: "a" };
        assert_eq!(reader(&bytes[..23]).receive::<1>("a").unwrap_err(), truncated);
        assert_eq!(truncated.to_string(), "the proof ends at byte 0, before a");
        let mut at = reader(&bytes);
        at.receive::<1>("a").unwrap();
        let element = FormatError::Element { offset: 24, label: "b" };
        assert_eq!(at.receive::<1>("b").unwrap_err(), element);
        assert_eq!(element.to_string(), "b at byte 24: a number is not below the modulus");
        let trailing = FormatError::Trailing { count: 48 };
        assert_eq!(reader(&bytes).finish().unwrap_err(), trailing);
        assert_eq!(trailing.to_string(), "48 bytes follow the end of the proof");
    }
}
