//! Make hostile inputs for tests, by seed.
//!
//! Decoders of crates that compile fast are fuzzed under `fuzz/`. Those that stand on the consensus library would take
//! many minutes to compile with instrumentation, so their tests take good values apart with a [`Mutator`] instead.

#![forbid(unsafe_code)]

/// Changes bytes at random, as a fuzzer does. The same seed gives the same changes.
#[derive(Debug, Clone)]
pub struct Mutator {
    state: u64,
    /// Pieces of good inputs, which changed ones get.
    pieces: Vec<Vec<u8>>,
}

/// Values at the borders of what lengths, counts and tags can be.
const BORDERS: [u64; 12] =
    [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX >> 1, u64::MAX];

impl Mutator {
    /// A mutator for inputs like these.
    #[must_use]
    pub fn new(seed: u64, good: &[Vec<u8>]) -> Self {
        Self { state: seed, pieces: good.to_vec() }
    }

    /// The next random number (SplitMix64).
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A random number below `end`, which is not zero.
    ///
    /// # Panics
    /// If `end` is zero.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a length fits");
        usize::try_from(self.number() % end).expect("it is below a length")
    }

    fn byte(&mut self) -> u8 {
        self.number().to_le_bytes()[0]
    }

    /// A good input with one to four changes.
    ///
    /// # Panics
    /// If there are no good inputs.
    pub fn next_input(&mut self) -> Vec<u8> {
        let which = self.below(self.pieces.len());
        let mut bytes = self.pieces[which].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes);
        }
        bytes
    }

    /// Changes one thing.
    pub fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let end = (at + self.below(33)).min(bytes.len());
        match self.below(8) {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (self.number() % 8)),
            1 => {
                let byte = self.byte();
                bytes.iter_mut().skip(at).take(1).for_each(|old| *old = byte);
            }
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => {
                let length = self.below(9);
                let random: Vec<u8> = (0..length).map(|_| self.byte()).collect();
                bytes.splice(at..at, random);
            }
            6 => self.put_border(bytes, at),
            _ => self.put_piece(bytes, at),
        }
    }

    /// Writes a number that tempts to allocate or to overflow, big or little endian, of 1, 2, 4 or 8 bytes.
    fn put_border(&mut self, bytes: &mut [u8], at: usize) {
        let border = BORDERS[self.below(BORDERS.len())];
        let width = 1 << self.below(4);
        let written = border.to_be_bytes();
        let written = &written[8 - width..];
        let place = bytes.iter_mut().skip(at).take(width);
        if self.number().is_multiple_of(2) {
            place.zip(written).for_each(|(to, from)| *to = *from);
        } else {
            place.zip(written.iter().rev()).for_each(|(to, from)| *to = *from);
        }
    }

    /// Writes part of a good input over what is there.
    fn put_piece(&mut self, bytes: &mut [u8], at: usize) {
        let which = self.below(self.pieces.len());
        let from = self.below(self.pieces[which].len() + 1);
        let piece = &self.pieces[which][from..];
        bytes.iter_mut().skip(at).zip(piece.iter().take(64)).for_each(|(to, from)| *to = *from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs_and_others_differ() {
        let good = [b"a good input".to_vec(), b"another".to_vec()];
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed, &good);
            (0..1000).map(|_| mutator.next_input()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        let mut different = inputs(1);
        different.sort();
        different.dedup();
        assert!(different.len() > 500, "{}", different.len());
        assert!(
            different.iter().any(|input| input.len() < 7) && different.iter().any(|input| input.len() > 20)
        );
    }
}
