//! The field that proofs are made in, and how its elements are written.
//!
//! The base field is Goldilocks, `p = 2^64 - 2^32 + 1`: every identity of `docs/spec/operators.md` has two sides that
//! differ by less than `3 * 2^62 < p`, so it holds over the integers if it holds modulo `p`. Challenges come from the
//! extension of degree 3 by `X^3 - X - 1`, which has about 2^192 elements.

use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, PrimeField64, extension::CubicTrinomialExtensionField};

/// An element of the base field, which holds integers below half the modulus in magnitude.
pub type Base = p3_goldilocks::Goldilocks;
/// An element of the extension, which holds challenges and all that follows from them.
pub type Element = CubicTrinomialExtensionField<Base>;

/// Bytes of an encoded [`Element`].
pub const ELEMENT_BYTES: usize = 24;
/// The modulus of the base field.
pub const MODULUS: u64 = 0xffff_ffff_0000_0001;

/// The integer as an element of the base field: a negative one is counted down from the modulus.
///
/// Two integers of less than half the modulus in magnitude are equal if and only if their elements are.
#[must_use]
pub fn integer(value: i64) -> Base {
    let magnitude = Base::from_u64(value.unsigned_abs());
    if value < 0 { -magnitude } else { magnitude }
}

/// The encoding of an element: its three coefficients from the constant one on, each the number below the modulus in 8
/// bytes, little-endian.
#[must_use]
pub fn encode(element: &Element) -> [u8; ELEMENT_BYTES] {
    let mut bytes = [0; ELEMENT_BYTES];
    let coefficients: &[Base] = element.as_basis_coefficients_slice();
    for (place, coefficient) in bytes.chunks_exact_mut(8).zip(coefficients) {
        place.copy_from_slice(&coefficient.as_canonical_u64().to_le_bytes());
    }
    bytes
}

/// Reads [`encode`]; nothing if a coefficient is not below the modulus, so that an element has one encoding.
#[must_use]
pub fn decode(bytes: &[u8; ELEMENT_BYTES]) -> Option<Element> {
    let (words, _) = bytes.as_chunks::<8>();
    let mut coefficients = [Base::ZERO; 3];
    for (coefficient, word) in coefficients.iter_mut().zip(words) {
        let value = u64::from_le_bytes(*word);
        if value >= MODULUS {
            return None;
        }
        *coefficient = Base::from_u64(value);
    }
    Element::from_basis_coefficients_slice(&coefficients)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_keep_sums_and_products() {
        for (a, b) in [(3, -5), (i64::from(i32::MIN), 127), (-(1 << 47), 1 << 14), (0, -1)] {
            assert_eq!(integer(a) + integer(b), integer(a + b));
            assert_eq!(integer(a) * integer(b), integer(a * b));
        }
        assert_eq!(integer(-1).as_canonical_u64(), MODULUS - 1);
    }

    #[test]
    fn an_element_has_one_encoding() {
        let element = Element::from_basis_coefficients_fn(|i| Base::from_u64(MODULUS - 1 - i as u64));
        let bytes = encode(&element);
        assert_eq!(decode(&bytes), Some(element));
        for place in [0, 8, 16] {
            let mut other = encode(&Element::ZERO);
            other[place..place + 8].copy_from_slice(&MODULUS.to_le_bytes());
            assert_eq!(decode(&other), None, "the modulus is a second encoding of zero");
        }
    }

    #[test]
    fn the_extension_is_the_one_that_is_specified() {
        let x = Element::from_basis_coefficients_fn(|i| if i == 1 { Base::ONE } else { Base::ZERO });
        assert_eq!(x * x * x, x + Element::ONE, "X^3 = X + 1");
        assert_eq!(Base::ORDER_U64, MODULUS);
    }
}
