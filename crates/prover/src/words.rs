//! Vectors of field elements in words of as many as the processor takes at once.

use p3_field::{
    Algebra, ExtensionField, Field, PackedFieldExtension as _, PackedValue as _, PrimeCharacteristicRing,
};
use rayon::prelude::*;
use veracity_proof::{Base, Element};

/// As many elements as the processor takes at once.
pub type Word = <Element as ExtensionField<Base>>::ExtensionPacking;

/// Elements of a [`Word`].
pub(crate) const WIDTH: usize = <Base as Field>::Packing::WIDTH;

/// What a vector is made of while it is worked on: elements, or words of them.
pub(crate) trait Value: Algebra<Element> + Copy + Send + Sync {
    /// The sum of all elements.
    fn total(self) -> Element;
}

impl Value for Element {
    fn total(self) -> Element {
        self
    }
}

impl Value for Word {
    fn total(self) -> Element {
        Self::to_ext_iter([self]).sum()
    }
}

/// `2^n` elements: in words if they fill one, else single.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the variants say what they hold")]
pub enum Words {
    Packed(Vec<Word>),
    Single(Vec<Element>),
}

impl Words {
    /// Packs elements, a power of two of them.
    ///
    /// # Panics
    /// If their number is no power of two.
    #[must_use]
    pub fn new(elements: Vec<Element>) -> Self {
        assert!(elements.len().is_power_of_two(), "a hypercube has a power of two of corners");
        match elements.len() >= 2 * WIDTH {
            true => Self::Packed(elements.par_chunks_exact(WIDTH).map(Word::from_ext_slice).collect()),
            false => Self::Single(elements),
        }
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(words) => words.len() * WIDTH,
            Self::Single(elements) => elements.len(),
        }
    }

    /// Whether there is none, which cannot be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements one by one.
    #[must_use]
    pub fn elements(&self) -> Vec<Element> {
        match self {
            Self::Packed(words) => Word::to_ext_iter(words.iter().copied()).collect(),
            Self::Single(elements) => elements.clone(),
        }
    }

    /// Both halves: the first variable 0, and 1.
    ///
    /// # Panics
    /// If there is one element only.
    #[must_use]
    pub fn halves(mut self) -> [Self; 2] {
        let half = self.len() / 2;
        assert!(half > 0, "one element has no halves");
        if half < WIDTH {
            self = Self::Single(self.elements());
        }
        match self {
            Self::Packed(mut words) => {
                let high = words.split_off(half / WIDTH);
                [words, high].map(|words| Self::Packed(words).loose())
            }
            Self::Single(mut elements) => {
                let high = elements.split_off(half);
                [elements, high].map(Self::Single)
            }
        }
    }

    /// Fixes the first variable to `r`.
    ///
    /// # Panics
    /// If there is no variable.
    pub fn fix(&mut self, r: Element) {
        match self {
            Self::Packed(words) => fix(words, r),
            Self::Single(elements) => fix(elements, r),
        }
        let fixed = std::mem::replace(self, Self::Single(vec![]));
        *self = fixed.loose();
    }

    /// Single elements where a half would not fill a word.
    pub(crate) fn loose(self) -> Self {
        match self.len() < 2 * WIDTH {
            true => Self::Single(self.elements()),
            false => self,
        }
    }
}

/// Work below which threads are not worth it, in words or elements.
pub(crate) const GRAIN: usize = 1 << 10;

fn fix<V: Value>(values: &mut Vec<V>, r: Element) {
    assert!(values.len() > 1, "there is a variable to fix");
    let half = values.len() / 2;
    let (low, high) = values.split_at_mut(half);
    let pairs = low.par_iter_mut().with_min_len(GRAIN).zip(high);
    pairs.for_each(|(low, high)| *low += (*high - *low) * r);
    values.truncate(half);
}

/// The sums over all places of the values that `at` gives for each.
pub(crate) fn sums<V: Value, const N: usize>(
    places: usize,
    at: impl Fn(usize) -> [V; N] + Send + Sync,
) -> [Element; N] {
    let add = |mut sums: [V; N], more: [V; N]| {
        sums.iter_mut().zip(more).for_each(|(sum, value)| *sum += value);
        sums
    };
    let none = || [V::from(<Element as PrimeCharacteristicRing>::ZERO); N];
    (0..places).into_par_iter().with_min_len(GRAIN).map(at).reduce(none, add).map(Value::total)
}
