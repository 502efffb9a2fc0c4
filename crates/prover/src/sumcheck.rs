//! Proving sums of products.

use p3_field::PrimeCharacteristicRing as _;
use veracity_proof::{
    Element, Writer,
    sumcheck::{CHALLENGE, ROUND, Reduced, complete, horner},
};

use crate::words::{Value, Words, sums};

/// Proves the sum of `f(x) g(x)` over the hypercube, which is `claim`; also gives `f` and `g` at the random point.
///
/// # Panics
/// If the polynomials have different numbers of variables.
#[must_use]
pub fn prove_product_sum(
    writer: &mut Writer,
    claim: Element,
    mut f: Words,
    mut g: Words,
) -> (Reduced, [Element; 2]) {
    assert_eq!(f.len(), g.len(), "both are polynomials on one hypercube");
    let mut reduced = Reduced { point: vec![], value: claim };
    while f.len() > 1 {
        let sent = match (&f, &g) {
            (Words::Packed(f), Words::Packed(g)) => product_round(f, g),
            (Words::Single(f), Words::Single(g)) => product_round(f, g),
            _ => unreachable!("vectors of one length are held in one way"),
        };
        writer.send(ROUND, &sent);
        let challenge = writer.transcript.challenge(CHALLENGE);
        reduced.value = horner(&complete(reduced.value, sent), challenge);
        reduced.point.push(challenge);
        f.fix(challenge);
        g.fix(challenge);
    }
    let ends = [f, g].map(|end| end.elements().first().copied().unwrap_or(Element::ZERO));
    (reduced, ends)
}

/// The constant and the square coefficient of the sum over all but the first variable.
fn product_round<V: Value>(f: &[V], g: &[V]) -> [Element; 2] {
    let half = f.len() / 2;
    sums(half, |i| {
        let (f0, g0) = (f[i], g[i]);
        [f0 * g0, (f[i + half] - f0) * (g[i + half] - g0)]
    })
}
