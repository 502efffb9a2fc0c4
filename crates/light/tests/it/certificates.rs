//! Every line of `testdata/certificates.txt` holds Commonware's own verdict: `certificate`, `seed` or `key`, what was
//! done to it, `accept`, `refuse` (the signatures do not hold) or `decode` (the bytes are none), the bytes.

use veracity_light::{
    CertificateError, Finalization, KeyError, NetworkKey, Proposal, Round, Seed, SignatureError,
};

use crate::fixture::{evidence, validators};

const CASES: &str = include_str!("../../testdata/certificates.txt");
const KEY: &str = include_str!("../../testdata/network-key.hex");

fn cases(kind: &str) -> impl Iterator<Item = (&str, &str, Vec<u8>)> {
    CASES.lines().filter_map(move |line| {
        let mut words = line.split(' ');
        (words.next() == Some(kind)).then(|| {
            let (what, verdict) = (words.next().unwrap(), words.next().unwrap());
            (what, verdict, unhex(words.next().unwrap()))
        })
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().as_chunks::<2>().0;
    digits.iter().map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn key() -> NetworkKey {
    KEY.parse().unwrap()
}

/// Checks both signatures, as Commonware does.
fn whole(certificate: &Finalization, key: &NetworkKey) -> Result<(), SignatureError> {
    certificate.verify(key)?;
    certificate.seed().verify(key)
}

#[test]
fn certificates_are_judged_as_commonware_judges_them() {
    let key = key();
    let mut n_cases = 0;
    for (what, expected, bytes) in cases("certificate") {
        let found = match Finalization::decode(&bytes) {
            Err(_) => "decode",
            Ok(certificate) => {
                assert_eq!(certificate.encode(), bytes, "{what}");
                if whole(&certificate, &key).is_ok() { "accept" } else { "refuse" }
            }
        };
        assert_eq!(found, expected, "{what} {bytes:02x?}");
        n_cases += 1;
    }
    assert!(n_cases > 200, "only {n_cases} cases");
}

/// Commonware refuses signatures that are no points when it decodes a seed, this crate when it verifies it.
#[test]
fn seeds_are_judged_as_commonware_judges_them() {
    let key = key();
    let mut golden = cases("certificate").filter(|(what, ..)| *what == "golden");
    for (what, expected, bytes) in cases("seed") {
        let certificate = [&bytes[..bytes.len() - 48], &[0; 33 + 48], &bytes[bytes.len() - 48..]].concat();
        let verdict = Finalization::decode(&certificate).map(|certificate| certificate.seed().verify(&key));
        let found = match verdict {
            Err(_) | Ok(Err(SignatureError::SeedPoint { .. })) => "decode",
            Ok(Ok(())) => "accept",
            Ok(Err(_)) => "refuse",
        };
        assert_eq!(found, expected, "{what}");
        if what == "golden" {
            let certificate = Finalization::decode(&golden.next().unwrap().2).unwrap();
            let seed = Finalization::decode(&certificate.encode()).unwrap().seed();
            assert!(bytes.ends_with(&seed.signature));
            assert_eq!(seed.round, certificate.proposal.round);
            assert_eq!(seed.verify(&key), Ok(()));
        }
    }
}

#[test]
fn keys_are_judged_as_commonware_judges_them() {
    for (what, expected, bytes) in cases("key") {
        let found = NetworkKey::from_bytes(&bytes);
        assert_eq!(if found.is_ok() { "accept" } else { "decode" }, expected, "{what}");
        if let Ok(key) = found {
            assert_eq!(key.as_bytes().as_slice(), bytes, "{what}");
            assert_eq!(key.to_string().parse(), Ok(key.clone()), "{what}");
        }
    }
}

#[test]
fn keys_as_text() {
    let good = KEY.trim_end();
    let error = |text: &str| text.parse::<NetworkKey>().unwrap_err().to_string();
    assert_eq!(format!("{:?}", key()), format!("NetworkKey({good})"));
    assert_eq!(error(""), "a network key has 192 hex digits, this text has 0 bytes");
    assert_eq!(error(&format!("{good}\n\n")), "a network key has 192 hex digits, this text has 193 bytes");
    assert_eq!(error(&good.to_uppercase()), "the digits of byte 0 of the network key are not lower-case hex");
    assert_eq!(
        error(&good.replace('9', ":")),
        "the digits of byte 1 of the network key are not lower-case hex"
    );
    assert_eq!(KeyError::Length { found: 95 }, NetworkKey::from_bytes(&[0; 95]).unwrap_err());
    assert_eq!(KeyError::Length { found: 95 }.to_string(), "a network key has 96 bytes, this has 95");
    let point = NetworkKey::from_bytes(&[0; 96]).unwrap_err();
    assert_eq!(
        point.to_string(),
        "the network key is not the canonical encoding of a point of G2 of prime order; get it again"
    );
}

/// RFC 9380 and the two namespaces by a second signer: what the fixture signs, the crate accepts.
#[test]
fn every_refusal_of_a_certificate_says_what_is_wrong() {
    let (key, good) = (validators().key(), evidence().parts().certificate);
    assert_eq!(whole(&good, &key), Ok(()));
    let error = |certificate: Finalization| whole(&certificate, &key).unwrap_err();
    let round = Round { epoch: 1, view: 9 };
    let infinity = {
        let mut point = [0; 48];
        point[0] = 0xc0;
        point
    };

    let vote = error(Finalization { vote_signature: infinity, ..good });
    assert_eq!(vote, SignatureError::VotePoint { round });
    assert_eq!(
        vote.to_string(),
        "the vote signature of epoch 1, view 9 is not the canonical encoding of a point of G1 of prime order"
    );
    let seed = error(Finalization { seed_signature: infinity, ..good });
    assert_eq!(seed, SignatureError::SeedPoint { round });
    assert_eq!(
        seed.to_string(),
        "the seed signature of epoch 1, view 9 is not the canonical encoding of a point of G1 of prime order"
    );
    let swapped = error(Finalization { seed_signature: good.vote_signature, ..good });
    assert_eq!(swapped, SignatureError::Seed { round });
    assert_eq!(swapped.to_string(), "the seed signature of epoch 1, view 9 is not that of this network");
    let proposal = Proposal { parent_view: 7, ..good.proposal };
    let other = error(Finalization { proposal, ..good });
    assert_eq!(other, SignatureError::Vote { round });
    assert_eq!(
        other.to_string(),
        "the vote signature of epoch 1, view 9 is not that of this network over this block"
    );
    let seed = Seed { round: Round { epoch: 2, view: 9 }, ..good.seed() };
    assert!(matches!(seed.verify(&key), Err(SignatureError::Seed { .. })));
}

/// The block is final whatever seed comes with it, and the seed does not become one by that.
#[test]
fn votes_and_seeds_are_checked_apart() {
    let (key, good) = (validators().key(), evidence().parts().certificate);
    let other = Finalization { seed_signature: good.vote_signature, ..good };
    assert_eq!(other.verify(&key), Ok(()));
    let round = good.proposal.round;
    assert_eq!(other.seed().verify(&key), Err(SignatureError::Seed { round }));
    let other = Finalization { vote_signature: good.seed_signature, ..good };
    assert_eq!(other.verify(&key), Err(SignatureError::Vote { round }));
    assert_eq!(other.seed().verify(&key), Ok(()));
}

#[test]
fn the_value_of_a_seed_is_the_hash_of_its_signature() {
    use sha2::Digest as _;
    let seed = evidence().parts().certificate.seed();
    assert_eq!(seed.value(), <[u8; 32]>::from(sha2::Sha256::digest(seed.signature)));
}

#[test]
fn malformed_certificates() {
    let good = evidence().parts().certificate.encode();
    assert_eq!(good.len(), 131);
    for length in 0..good.len() {
        assert!(matches!(Finalization::decode(&good[..length]), Err(CertificateError::Truncated { .. })));
    }
    let error = |bytes: &[u8]| Finalization::decode(bytes).unwrap_err().to_string();
    assert_eq!(error(&good[..130]), "the certificate needs 48 bytes more, 47 are left");
    assert_eq!(error(&[&good[..], &[0]].concat()), "1 bytes follow the certificate");
    let varint = "a number of the certificate is not in its shortest form or too large";
    assert_eq!(error(&[&[0x81, 0][..], &good[1..]].concat()), varint);
    assert_eq!(error(&[0xff; 131]), varint);
}
