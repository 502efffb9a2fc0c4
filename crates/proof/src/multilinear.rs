//! Multilinear polynomials, by their values on the hypercube.
//!
//! A vector of `2^n` values is the polynomial in `n` variables, linear in each, that has these values at the corners of
//! `{0, 1}^n`. The first variable is the most significant bit of the index: fixing it chooses a half of the vector.

use p3_field::PrimeCharacteristicRing;

use crate::Element;

/// `eq(a, b)`: the product over all places of `a b + (1 - a) (1 - b)`, which is 1 where corners are equal and else 0.
///
/// Points of different lengths agree in no place beyond the shorter one, so the value is zero.
#[must_use]
pub fn eq(a: &[Element], b: &[Element]) -> Element {
    if a.len() != b.len() {
        return Element::ZERO;
    }
    let factor = |(a, b): (&Element, &Element)| (*a * *b).double() - *a - *b + Element::ONE;
    a.iter().zip(b).map(factor).product()
}

/// `eq(point, corner)` for all corners, in order of their index: `2^n` values.
#[must_use]
pub fn eq_table(point: &[Element]) -> Vec<Element> {
    let mut table = vec![Element::ONE];
    for coordinate in point {
        table = table.iter().flat_map(|value| {
            let one = *value * *coordinate;
            [*value - one, one]
        }).collect();
    }
    table
}

/// The value at `point` of the polynomial whose values begin with `values`; those that are missing are zero, and those
/// beyond the hypercube are not looked at.
#[must_use]
pub fn evaluate(values: &[Element], point: &[Element]) -> Element {
    eq_table(point).iter().zip(values).map(|(weight, value)| *weight * *value).sum()
}

#[cfg(test)]
mod tests {
    use p3_field::BasedVectorSpace;

    use super::*;
    use crate::Base;

    fn elements(seed: u64, count: u64) -> Vec<Element> {
        let at = |i: u64| Element::from_basis_coefficients_fn(|j| Base::from_u64(seed * 1000 + i * 7 + j as u64));
        (0..count).map(at).collect()
    }

    #[test]
    fn a_polynomial_has_its_values_at_the_corners() {
        let values = elements(1, 8);
        for (index, value) in values.iter().enumerate() {
            let bit = |place: usize| Element::from_bool(index >> place & 1 == 1);
            assert_eq!(evaluate(&values, &[bit(2), bit(1), bit(0)]), *value);
        }
    }

    #[test]
    fn the_first_variable_chooses_a_half() {
        let (values, point) = (elements(2, 8), elements(3, 3));
        let (low, high) = values.split_at(4);
        let [low, high] = [low, high].map(|half| evaluate(half, &point[1..]));
        assert_eq!(evaluate(&values, &point), low + point[0] * (high - low));
    }

    #[test]
    fn eq_is_the_polynomial_of_its_table() {
        let (a, b) = (elements(4, 5), elements(5, 5));
        assert_eq!(eq(&a, &b), evaluate(&eq_table(&a), &b));
        assert_eq!(eq(&a, &b[1..]), Element::ZERO);
    }
}
