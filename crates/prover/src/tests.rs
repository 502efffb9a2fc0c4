//! Provers against the verifiers of `veracity-proof`, honest and not.

use p3_field::{BasedVectorSpace as _, PrimeCharacteristicRing as _};
use veracity_proof::{
    Base, Element, FractionError, Reader, Transcript, Writer,
    field::{ELEMENT_BYTES, decode, encode},
    fractions::{LeafClaim, verify_zero_sum},
    multilinear::evaluate,
    sumcheck::verify_sum,
};

use crate::{Words, fractions::prove_zero_sum, sumcheck::prove_product_sum};

/// Elements that look random, by a linear congruence (Knuth's MMIX).
fn elements(seed: u64, count: usize) -> Vec<Element> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Base::from_u64(state >> 1)
    };
    (0..count).map(|_| Element::from_basis_coefficients_fn(|_| next())).collect()
}

fn transcript() -> Transcript {
    Transcript::new("test")
}

#[test]
fn a_sum_of_products_is_reduced_to_its_factors() {
    for n_variables in 0..8 {
        let [f, g] = [1, 2].map(|seed| elements(seed, 1 << n_variables));
        let claim = f.iter().zip(&g).map(|(f, g)| *f * *g).sum();
        let mut writer = Writer::new(transcript());
        let (reduced, ends) =
            prove_product_sum(&mut writer, claim, Words::new(f.clone()), Words::new(g.clone()));
        let bytes = writer.finish();
        let mut reader = Reader::new(transcript(), &bytes);
        assert_eq!(verify_sum::<2>(&mut reader, claim, n_variables).unwrap(), reduced);
        reader.finish().unwrap();
        assert_eq!(ends, [f, g].map(|values| evaluate(&values, &reduced.point)));
        assert_eq!(reduced.value, ends[0] * ends[1]);
    }
}

/// A false sum ends in a false value, whatever a prover that knows only the true polynomials sends.
#[test]
fn a_false_sum_of_products_ends_in_a_false_value() {
    let [f, g] = [1, 2].map(|seed| elements(seed, 32));
    let claim = f.iter().zip(&g).map(|(f, g)| *f * *g).sum::<Element>() + Element::ONE;
    let mut writer = Writer::new(transcript());
    let (reduced, ends) = prove_product_sum(&mut writer, claim, Words::new(f), Words::new(g));
    assert_ne!(reduced.value, ends[0] * ends[1]);
}

/// What is looked up, and a table with how often each of its entries is, as fractions `1 / (alpha - v)` and
/// `-m / (alpha - t)`.
fn lookups(looked_up: &[u64], table: &[u64], counts: &[u64]) -> (Vec<Element>, Vec<Element>) {
    let alpha = elements(9, 1)[0];
    let denominator = |value: &u64| alpha - Element::from_u64(*value);
    let numerators = looked_up.iter().map(|_| Element::ONE).chain(counts.iter().map(|m| -Element::from_u64(*m)));
    (numerators.collect(), looked_up.iter().chain(table).map(denominator).collect())
}

fn prove(numerators: &[Element], denominators: &[Element]) -> (LeafClaim, Vec<u8>) {
    let mut writer = Writer::new(transcript());
    let [p, q] = [numerators, denominators].map(|values| Words::new(values.to_vec()));
    let claim = prove_zero_sum(&mut writer, p, q);
    (claim, writer.finish())
}

fn verify(bytes: &[u8], n_variables: usize) -> Result<LeafClaim, FractionError> {
    let mut reader = Reader::new(transcript(), bytes);
    let claim = verify_zero_sum(&mut reader, n_variables)?;
    reader.finish()?;
    Ok(claim)
}

/// Whether a claim is that of these fractions.
fn holds(claim: &LeafClaim, numerators: &[Element], denominators: &[Element]) -> bool {
    claim.numerator == evaluate(numerators, &claim.point) && claim.denominator == evaluate(denominators, &claim.point)
}

/// Many sizes: fewer fractions than a word has elements, and more than a thread takes at once.
#[test]
fn what_is_in_the_table_sums_to_zero() {
    for n_variables in 1..15 {
        let half = 1_usize << (n_variables - 1);
        let table: Vec<u64> = (0..half as u64).collect();
        let looked_up: Vec<u64> = (0..half as u64).map(|i| i * i % half as u64).collect();
        let count = |entry: &u64| looked_up.iter().filter(|value| *value == entry).count() as u64;
        let counts: Vec<u64> = table.iter().map(count).collect();
        let (numerators, denominators) = lookups(&looked_up, &table, &counts);
        let (claim, bytes) = prove(&numerators, &denominators);
        assert_eq!(verify(&bytes, n_variables).unwrap(), claim);
        assert!(holds(&claim, &numerators, &denominators));
    }
}

#[test]
fn what_is_not_in_the_table_is_refused() {
    let (numerators, denominators) = lookups(&[1, 2, 2, 9], &[0, 1, 2, 3], &[0, 1, 2, 1]);
    let (_, bytes) = prove(&numerators, &denominators);
    let error = verify(&bytes, 3).unwrap_err();
    assert_eq!(error, FractionError::Sum);
    assert_eq!(error.to_string(), "the sum of the fractions is not zero");
    // Nor is a wrong count.
    let (numerators, denominators) = lookups(&[1, 2, 2, 3], &[0, 1, 2, 3], &[0, 1, 1, 2]);
    assert_eq!(verify(&prove(&numerators, &denominators).1, 3), Err(FractionError::Sum));
}

#[test]
fn a_zero_denominator_is_refused() {
    let (mut numerators, mut denominators) = lookups(&[1, 1], &[0, 1], &[0, 2]);
    denominators[2] = Element::ZERO;
    numerators[2] = Element::ZERO;
    let error = verify(&prove(&numerators, &denominators).1, 2).unwrap_err();
    assert_eq!(error, FractionError::ZeroDenominator);
    assert_eq!(error.to_string(), "the product of the denominators is zero");
}

#[test]
fn one_fraction_is_no_sum() {
    assert_eq!(verify(&[], 0), Err(FractionError::TooFew));
    assert_eq!(FractionError::TooFew.to_string(), "a sum has two fractions at least");
}

/// Every element of a proof, changed: the verifier refuses it, or ends in a claim that is false.
#[test]
fn no_element_of_a_proof_can_be_changed() {
    let (numerators, denominators) = lookups(&[3, 3, 0, 1, 5, 7, 7, 7], &[0, 1, 2, 3, 4, 5, 6, 7], &[1, 1, 0, 2, 0, 1, 0, 3]);
    let (_, bytes) = prove(&numerators, &denominators);
    let mut layers = 0;
    for place in 0..bytes.len() / ELEMENT_BYTES {
        let mut forged = bytes.clone();
        let at = place * ELEMENT_BYTES..(place + 1) * ELEMENT_BYTES;
        let element = decode(forged[at.clone()].try_into().unwrap()).unwrap();
        forged[at].copy_from_slice(&encode(&(element + Element::ONE)));
        match verify(&forged, 4) {
            Ok(claim) => assert!(!holds(&claim, &numerators, &denominators), "element {place}"),
            Err(error) => layers += usize::from(matches!(error, FractionError::Layer { .. })),
        }
    }
    assert!(layers > 10, "most changes show in the next layer: {layers}");
    assert_eq!(FractionError::Layer { layer: 2 }.to_string(), "layer 2 does not follow from the next");
}

/// A proof says nothing of other fractions than those it was made for.
#[test]
fn the_claim_that_remains_is_about_these_fractions() {
    let (numerators, denominators) = lookups(&[1, 1], &[0, 1], &[0, 2]);
    let claim = verify(&prove(&numerators, &denominators).1, 2).unwrap();
    let (others, other_denominators) = lookups(&[0, 1], &[0, 1], &[1, 1]);
    assert!(!holds(&claim, &others, &other_denominators));
}
