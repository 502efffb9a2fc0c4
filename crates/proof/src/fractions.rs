//! Sums of fractions: what is looked up is in its table (LogUp, Habock, eprint 2022/1530; by layers as Papini and Habock,
//! eprint 2023/1930).
//!
//! `2^n` fractions `p / q` are added in pairs, those in turn, and so on. A layer of `2^k` fractions is two polynomials `P`
//! and `Q` in `k` variables; fraction `b` of it is the sum of fractions `0 b` and `1 b` of the next, whose first variable is
//! the new one:
//!
//! ```text
//! P(b) = P'(0 b) Q'(1 b) + P'(1 b) Q'(0 b)        Q(b) = Q'(0 b) Q'(1 b)
//! ```
//!
//! The verifier learns the two fractions below the root, whose sum must be zero. From layer to layer, claims of `P` and
//! `Q` at one point are combined with a challenge and reduced by a sumcheck to claims of the next layer. What remains is
//! what the caller knows how to check: the numerators and denominators at a random point.

use p3_field::PrimeCharacteristicRing;

use crate::{
    Element, Reader,
    error::FractionError,
    sumcheck::{Reduced, verify_eq_sum},
};

/// Label of the four values in which a layer's claims end.
pub const HALVES: &str = "halves of fractions";
/// Label of the challenge that combines numerators and denominators.
pub const COMBINE: &str = "numerator and denominator";
/// Label of the value of the next layer's first variable.
pub const HALF: &str = "half";

/// What remains of a sum: numerators and denominators, as polynomials, have these values at this point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafClaim {
    /// The point, with as many coordinates as there are variables.
    pub point: Vec<Element>,
    /// What the numerators are there.
    pub numerator: Element,
    /// What the denominators are there.
    pub denominator: Element,
}

/// Values of numerators and denominators of the next layer, with the first variable 0 and 1.
type Halves = [Element; 4];

/// Reduces the claim that `2^n_variables` fractions have the sum zero.
///
/// # Errors
/// [`FractionError`].
pub fn verify_zero_sum(reader: &mut Reader<'_>, n_variables: usize) -> Result<LeafClaim, FractionError> {
    if n_variables == 0 {
        return Err(FractionError::TooFew);
    }
    let mut claim = LeafClaim { point: vec![], numerator: Element::ZERO, denominator: Element::ZERO };
    for layer in 0..n_variables {
        let combine = reader.transcript.challenge(COMBINE);
        let target = claim.numerator + combine * claim.denominator;
        let Reduced { point, value } = verify_eq_sum::<2>(reader, target, &claim.point)?;
        let [p0, p1, q0, q1]: Halves = reader.receive(HALVES)?;
        let (numerator, denominator) = (p0 * q1 + p1 * q0, q0 * q1);
        if layer == 0 {
            check_root(numerator, denominator)?;
        } else if value != numerator + combine * denominator {
            return Err(FractionError::Layer { layer });
        }
        let half = reader.transcript.challenge(HALF);
        claim.point = [&[half], point.as_slice()].concat();
        claim.numerator = p0 + half * (p1 - p0);
        claim.denominator = q0 + half * (q1 - q0);
    }
    Ok(claim)
}

/// The sum is zero and exists.
fn check_root(numerator: Element, denominator: Element) -> Result<(), FractionError> {
    if denominator == Element::ZERO {
        return Err(FractionError::ZeroDenominator);
    }
    if numerator != Element::ZERO {
        return Err(FractionError::Sum);
    }
    Ok(())
}
