use alloy_primitives::{Bytes, U256, hex};
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use veracity_chain::{CallEnd, ED25519};

use crate::support::{Chain, contract, node_key};

/// Calls the precompile with all bytes from 32 on, and with the gas that the first 32 say. Returns what it wrote over the
/// first word of its input, whether it succeeded, and how many bytes it returned.
const CALLER: &[u8] = &[
    0x60, 0x20, 0x36, 0x03, 0x80, 0x60, 0x20, 0x5f, 0x37, // calldatacopy(0, 32, calldatasize - 32)
    0x60, 0x20, 0x5f, 0x82, 0x5f, 0x61, 0x0e, 0x25, 0x5f, 0x35, 0xfa, // staticcall
    0x60, 0x20, 0x52, 0x3d, 0x60, 0x40, 0x52, 0x60, 0x60, 0x5f, 0xf3,
];

/// What [`CALLER`] returns.
fn with_gas(chain: &Chain, gas: u64, input: &[u8]) -> [U256; 3] {
    let input = [&U256::from(gas).to_be_bytes::<32>(), input].concat();
    let CallEnd::Returned(output) = chain.call(contract(0), input) else { panic!("the caller cannot fail") };
    [0, 1, 2].map(|word| U256::from_be_slice(&output[32 * word..][..32]))
}

fn is_valid(chain: &Chain, input: impl Into<Bytes>) -> bool {
    match chain.call(ED25519, input) {
        CallEnd::Returned(output) if output.len() == 32 => match U256::from_be_slice(&output) {
            U256::ZERO => false,
            U256::ONE => true,
            other => panic!("{other}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_edges_are_as_an_independent_computation_has_them() {
    let chain = Chain::new(&[]);
    let mut n_valid = 0;
    for line in include_str!("../../testdata/ed25519.txt").lines() {
        let mut fields = line.splitn(5, ' ');
        let [verdict, key, signature, message] = [(); 4].map(|()| fields.next().unwrap());
        let message = message.trim_start_matches('-');
        let input = hex::decode([key, signature, message].concat()).unwrap();
        assert_eq!(is_valid(&chain, input), verdict == "valid", "{line}");
        n_valid += usize::from(verdict == "valid");
    }
    assert_eq!(n_valid, 49);
}

/// Random inputs and damaged ones, against the library called directly.
#[test]
fn agrees_with_the_library_on_random_and_damaged_signatures() {
    let chain = Chain::new(&[]);
    for seed in 0..16u8 {
        let message: Vec<u8> = (0..seed).map(|i| i ^ seed).collect();
        let key = node_key(seed);
        let good = [&key.verifying_key().to_bytes()[..], &key.sign(&message).to_bytes(), &message].concat();
        assert!(is_valid(&chain, good.clone()));
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1 << (position % 8);
            let (parts, message) = bad.split_first_chunk::<96>().unwrap();
            let expected = VerifyingKey::from_bytes(parts[..32].try_into().unwrap())
                .and_then(|key| key.verify_strict(message, &Signature::from_slice(&parts[32..]).unwrap()));
            assert!(expected.is_err(), "no second signature is known");
            assert!(!is_valid(&chain, bad), "seed {seed}, byte {position}");
        }
    }
}

#[test]
fn short_inputs_are_not_valid() {
    let chain = Chain::new(&[]);
    for length in 0..96 {
        assert!(!is_valid(&chain, vec![1; length]), "{length}");
    }
}

#[test]
fn gas_is_3000_and_12_for_each_begun_word_and_too_little_is_a_halt() {
    let chain = Chain::new(&[CALLER]);
    let key = node_key(1);
    for (length, gas) in [(0, 3000), (1, 3012), (32, 3012), (33, 3024), (1000, 3384)] {
        let message = vec![7; length];
        let input = [&key.verifying_key().to_bytes()[..], &key.sign(&message).to_bytes(), &message].concat();
        let [one, size] = [U256::ONE, U256::from(32)];
        assert_eq!(with_gas(&chain, gas, &input), [one, one, size], "{length} with {gas}");
        let [_, success, returned] = with_gas(&chain, gas - 1, &input);
        assert_eq!((success, returned), (U256::ZERO, U256::ZERO), "{length} with {}", gas - 1);
    }
    // Also where the input is no signature: the price is that of looking.
    assert_eq!(with_gas(&chain, 3000, &[9; 95]), [U256::ZERO, U256::ONE, U256::from(32)]);
    assert_eq!(with_gas(&chain, 2999, &[9; 95])[1], U256::ZERO);
}
