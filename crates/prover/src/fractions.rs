//! Proving sums of fractions.

use p3_field::{Field as _, PrimeCharacteristicRing as _};
use rayon::prelude::*;
use veracity_proof::{
    Element, Writer,
    fractions::{COMBINE, HALF, HALVES, LeafClaim},
    multilinear::eq_table,
    sumcheck::{CHALLENGE, ROUND, complete_eq, horner},
};

use crate::words::{GRAIN, Value, Words, sums};

/// A layer of fractions: numerators and denominators, as many of each.
#[derive(Debug, Clone)]
struct Layer {
    numerators: Words,
    denominators: Words,
}

/// The fractions of a layer with the first variable 0 and 1.
struct Halves {
    p: [Words; 2],
    q: [Words; 2],
}

impl Layer {
    fn halves(self) -> Halves {
        Halves { p: self.numerators.halves(), q: self.denominators.halves() }
    }

    /// The layer above.
    fn add(&self) -> Self {
        match (&self.numerators, &self.denominators) {
            (Words::Packed(p), Words::Packed(q)) => {
                let (p, q) = add(p, q);
                Self { numerators: Words::Packed(p).loose(), denominators: Words::Packed(q).loose() }
            }
            (Words::Single(p), Words::Single(q)) => {
                let (p, q) = add(p, q);
                Self { numerators: Words::Single(p), denominators: Words::Single(q) }
            }
            _ => unreachable!("vectors of one length are held in one way"),
        }
    }
}

/// Adds the fractions of both halves.
fn add<V: Value>(p: &[V], q: &[V]) -> (Vec<V>, Vec<V>) {
    let half = p.len() / 2;
    let sum = |i: usize| {
        let (q0, q1) = (q[i], q[i + half]);
        (p[i] * q1 + p[i + half] * q0, q0 * q1)
    };
    (0..half).into_par_iter().with_min_len(GRAIN).map(sum).unzip()
}

/// Proves that fractions have the sum zero.
///
/// # Panics
/// If there are not as many denominators as numerators, or not a power of two of at least two.
#[must_use]
pub fn prove_zero_sum(writer: &mut Writer, numerators: Words, denominators: Words) -> LeafClaim {
    assert_eq!(numerators.len(), denominators.len(), "each fraction has a numerator and a denominator");
    let mut layers = vec![Layer { numerators, denominators }];
    while let Some(last) = layers.last().filter(|last| last.numerators.len() > 2) {
        let above = last.add();
        layers.push(above);
    }
    let mut claim = LeafClaim { point: vec![], numerator: Element::ZERO, denominator: Element::ZERO };
    while let Some(layer) = layers.pop() {
        claim = prove_layer(writer, &claim, layer.halves());
    }
    claim
}

/// Reduces claims of the layer above to claims of the one that has these halves.
fn prove_layer(writer: &mut Writer, claim: &LeafClaim, mut halves: Halves) -> LeafClaim {
    let combine = writer.transcript.challenge(COMBINE);
    let mut value = claim.numerator + combine * claim.denominator;
    let mut point = vec![];
    // Weights of the variables after the one of the round.
    let mut weights = Words::new(eq_table(claim.point.get(1..).unwrap_or_default()));
    for z in &claim.point {
        let [constant, square] = round(&halves, &weights, combine);
        // The claim is (1 - z) t(0) + z t(1). That z is zero has a probability of 2^-192.
        let one = (value - constant) * z.try_inverse().unwrap_or_default() + constant;
        let sent = [one - constant - square, square];
        writer.send(ROUND, &sent);
        let challenge = writer.transcript.challenge(CHALLENGE);
        value = horner(&complete_eq(value, *z, sent), challenge);
        point.push(challenge);
        halves.p.iter_mut().chain(&mut halves.q).for_each(|words| words.fix(challenge));
        if weights.len() > 1 {
            weights = sum_halves(weights);
        }
    }
    let [p0, p1, q0, q1] = {
        let Halves { p: [p0, p1], q: [q0, q1] } = halves;
        [p0, p1, q0, q1].map(|words| words.elements().first().copied().unwrap_or(Element::ZERO))
    };
    writer.send(HALVES, &[p0, p1, q0, q1]);
    let half = writer.transcript.challenge(HALF);
    LeafClaim {
        point: [&[half], point.as_slice()].concat(),
        numerator: p0 + half * (p1 - p0),
        denominator: q0 + half * (q1 - q0),
    }
}

/// The constant and the square coefficient of a round.
fn round(halves: &Halves, weights: &Words, combine: Element) -> [Element; 2] {
    let Halves { p: [p0, p1], q: [q0, q1] } = halves;
    match (p0, p1, q0, q1, weights) {
        (Words::Packed(p0), Words::Packed(p1), Words::Packed(q0), Words::Packed(q1), Words::Packed(weights)) => {
            round_of([p0, p1, q0, q1], weights, combine)
        }
        _ => {
            // Few enough to be copied.
            let [p0, p1, q0, q1, weights] = [p0, p1, q0, q1, weights].map(Words::elements);
            round_of([&p0, &p1, &q0, &q1], &weights, combine)
        }
    }
}

/// `P'0 Q'1 + P'1 Q'0 + combine Q'0 Q'1`, by weight: its constant and its square coefficient in the first variable.
fn round_of<V: Value>([p0, p1, q0, q1]: [&[V]; 4], weights: &[V], combine: Element) -> [Element; 2] {
    let half = weights.len();
    let combined = |p0: V, p1: V, q0: V, q1: V| p0 * q1 + q0 * (p1 + q1 * combine);
    sums(half, |i| {
        let constant = combined(p0[i], p1[i], q0[i], q1[i]);
        let slope = |values: &[V]| values[i + half] - values[i];
        let square = combined(slope(p0), slope(p1), slope(q0), slope(q1));
        [constant * weights[i], square * weights[i]]
    })
}

/// Weights of one variable less: those with the first one 0 and 1 are added.
fn sum_halves(weights: Words) -> Words {
    let [low, high] = weights.halves();
    match (low, high) {
        (Words::Packed(mut low), Words::Packed(high)) => {
            low.iter_mut().zip(high).for_each(|(low, high)| *low += high);
            Words::Packed(low)
        }
        (low, high) => {
            Words::new(low.elements().into_iter().zip(high.elements()).map(|(low, high)| low + high).collect())
        }
    }
}
