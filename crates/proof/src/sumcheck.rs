//! Sums over a hypercube (Lund, Fortnow, Karloff, Nisan, 1992).
//!
//! The prover claims that a polynomial `g` in `n` variables, of degree at most `d` in each, has the sum `claim` over
//! `{0, 1}^n`. Variable by variable, it sends the polynomial of the partial sums, and goes on at a random value of the
//! variable. What remains is one claim: the value of `g` at a random point. A false claim survives with a probability of
//! at most `n d / |E|`, `E` being the extension field.
//!
//! A round's polynomial has `d + 1` coefficients, of which one follows from the claim and is not sent. So a round cannot
//! contradict the claim, and a false sum shows at the end only, where the verifier compares with a value that it knows.

use p3_field::PrimeCharacteristicRing;

use crate::{Element, Reader, error::FormatError};

/// What a sum was reduced to: `g(point) = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduced {
    /// The random point.
    pub point: Vec<Element>,
    /// What the polynomial has to be there.
    pub value: Element,
}

/// Label of what a round sends.
pub const ROUND: &str = "sumcheck round";
/// Label of what a round draws.
pub const CHALLENGE: &str = "sumcheck challenge";

/// The value at `x` of the polynomial with these coefficients, the constant one first.
#[must_use]
pub fn horner(coefficients: &[Element], x: Element) -> Element {
    coefficients.iter().rev().fold(Element::ZERO, |sum, coefficient| sum * x + *coefficient)
}

/// All coefficients of a round's polynomial `t` whose `t(0) + t(1)` is `claim`, from those that are sent: all but the one of
/// degree 1.
#[must_use]
pub fn complete<const D: usize>(claim: Element, [constant, higher @ ..]: [Element; D]) -> Vec<Element> {
    let linear = claim - constant.double() - higher.iter().copied().sum::<Element>();
    [&[constant, linear], &higher[..]].concat()
}

/// All coefficients of a round's polynomial `t` with `(1 - z) t(0) + z t(1) = claim`, from those that are sent: all but the
/// constant one.
#[must_use]
pub fn complete_eq<const D: usize>(claim: Element, z: Element, sent: [Element; D]) -> Vec<Element> {
    let constant = claim - z * sent.iter().copied().sum::<Element>();
    [&[constant], &sent[..]].concat()
}

/// Reduces the claim that `g` has this sum over `{0, 1}^n_variables`; its degree in each variable is at most `D`.
///
/// # Errors
/// [`FormatError`]. A false claim is no error here: it leads to a false [`Reduced`].
pub fn verify_sum<const D: usize>(
    reader: &mut Reader<'_>,
    claim: Element,
    n_variables: usize,
) -> Result<Reduced, FormatError> {
    let mut reduced = Reduced { point: Vec::new(), value: claim };
    for _ in 0..n_variables {
        let polynomial = complete::<D>(reduced.value, reader.receive(ROUND)?);
        let challenge = reader.transcript.challenge(CHALLENGE);
        reduced.value = horner(&polynomial, challenge);
        reduced.point.push(challenge);
    }
    Ok(reduced)
}

/// Reduces the claim that `eq(z, x) h(x)` has this sum over the hypercube of `z`; the degree of `h` is at most `D` in each
/// variable. The value is that of `h` alone (Gruen, eprint 2024/108, section 3).
///
/// # Errors
/// [`FormatError`]. A false claim is no error here: it leads to a false [`Reduced`].
pub fn verify_eq_sum<const D: usize>(
    reader: &mut Reader<'_>,
    claim: Element,
    z: &[Element],
) -> Result<Reduced, FormatError> {
    let mut reduced = Reduced { point: Vec::new(), value: claim };
    for coordinate in z {
        let polynomial = complete_eq::<D>(reduced.value, *coordinate, reader.receive(ROUND)?);
        let challenge = reader.transcript.challenge(CHALLENGE);
        reduced.value = horner(&polynomial, challenge);
        reduced.point.push(challenge);
    }
    Ok(reduced)
}
