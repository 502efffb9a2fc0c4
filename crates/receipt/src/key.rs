//! Executors: their ids and their signing keys (specification, section 4).

use std::{fmt, str::FromStr};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::{IdError, SignatureError, ids::id};

/// The namespace of bindings, after its length.
const BINDING_PREFIX: &[u8] = b"\x1cveracity operator binding v1";

id! {
    /// Names an executor: its Ed25519 public key. Any 32 bytes can stand here; whether they are a usable key shows
    /// when a signature is checked.
    ExecutorId
}

impl ExecutorId {
    /// Checks a signature of this executor, strictly: see [`SignatureError`] for what is refused.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), SignatureError> {
        let executor = *self;
        let key =
            VerifyingKey::from_bytes(self.as_bytes()).map_err(|_| SignatureError::InvalidKey { executor })?;
        // Decompression reduces y modulo p, so a few keys have a second encoding: a second id for one key.
        if key.to_edwards().compress().as_bytes() != self.as_bytes() {
            return Err(SignatureError::NonCanonicalKey { executor });
        }
        // Under a key of small order one signature fits many messages.
        if key.is_weak() {
            return Err(SignatureError::WeakKey { executor });
        }
        key.verify_strict(message, &Signature::from_bytes(signature))
            .map_err(|_| SignatureError::Mismatch { executor })
    }
}

/// An executor's signing key. Wiped from memory when dropped, never printed.
///
/// It must sign nothing but receipts and bindings to an operator: see specification, section 4.
pub struct ExecutorKey(SigningKey);

impl ExecutorKey {
    /// The key that belongs to a 32-byte seed (the private key of RFC 8032, section 5.1.5). The caller draws the seed
    /// from a source fit for keys.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public side.
    #[must_use]
    pub fn executor(&self) -> ExecutorId {
        ExecutorId::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Lets an operator's address register this executor on a chain: the proof of `docs/spec/contracts.md`, section 3. It
    /// cannot be taken for a receipt, because it begins with another byte than what receipts sign.
    #[must_use]
    pub fn bind_operator(&self, chain_id: u64, operator: &[u8; 20]) -> [u8; 64] {
        let chain = [&[0; 24][..], &chain_id.to_be_bytes()].concat();
        self.sign(&[BINDING_PREFIX, &chain, operator].concat())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for ExecutorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExecutorKey({})", self.executor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(key: [u8; 32]) -> String {
        ExecutorId::from_bytes(key).verify(b"message", &[0; 64]).unwrap_err().to_string()
    }

    /// The bytes of `bindingMessage`, which are no `Sig_structure`: that begins with an array of four.
    #[test]
    fn binds_itself_to_an_operator() {
        let key = ExecutorKey::from_seed(&[3; 32]);
        let proof = key.bind_operator(31337, &[9; 20]);
        let mut message = vec![0x1c];
        message.extend_from_slice(b"veracity operator binding v1");
        message.extend_from_slice(&[0; 30]);
        message.extend_from_slice(&[0x7a, 0x69]);
        message.extend_from_slice(&[9; 20]);
        assert_eq!(message.len(), 81);
        key.executor().verify(&message, &proof).unwrap();
        key.executor().verify(&message, &key.bind_operator(31338, &[9; 20])).unwrap_err();
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn signs_as_in_rfc_8032() {
        let seed: ExecutorId =
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb".parse().unwrap();
        let key = ExecutorKey::from_seed(seed.as_bytes());
        assert_eq!(
            key.executor().to_string(),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        let signature = key.sign(&[0x72]);
        let halves =
            signature.as_chunks::<32>().0.iter().map(|half| ExecutorId::from_bytes(*half).to_string());
        assert_eq!(
            halves.collect::<Vec<_>>(),
            [
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
                "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ]
        );
        assert_eq!(key.executor().verify(&[0x72], &signature), Ok(()));
    }

    #[test]
    fn debug_shows_the_public_side_only() {
        let key = ExecutorKey::from_seed(&[5; 32]);
        assert_eq!(format!("{key:?}"), format!("ExecutorKey({})", key.executor()));
    }

    #[test]
    fn a_key_that_is_no_point_is_refused() {
        let key = (0..=255).map(|b| [b; 32]).find(|k| VerifyingKey::from_bytes(k).is_err()).unwrap();
        let id = ExecutorId::from_bytes(key);
        assert_eq!(
            refusal(key),
            format!("executor {id} is not a point of the curve, so not an Ed25519 public key")
        );
    }

    /// The eight points of small order, canonically encoded.
    #[test]
    fn keys_of_small_order_are_refused() {
        let order_8 = [
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        ];
        let order_1_2_4 = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
        ];
        for text in order_8.into_iter().chain(order_1_2_4) {
            let id: ExecutorId = text.parse().unwrap();
            let expected = format!("executor {id} is a point of small order, under which anyone can sign");
            assert_eq!(refusal(*id.as_bytes()), expected);
        }
    }

    /// `R` neutral and `S = k a` satisfy the plain equation: a signer could make it hold for more than one reading of
    /// RFC 8032. `S` was computed in Python from the seed.
    #[test]
    fn signatures_with_a_point_of_small_order_are_refused() {
        let s: ExecutorId =
            "95c0fdcc54fccad1f2b8bc9b96aa6837c82f86349e6576ad29ca3ece7b7ea905".parse().unwrap();
        let mut signature = [0; 64];
        signature[0] = 1;
        signature[32..].copy_from_slice(s.as_bytes());
        let executor = ExecutorKey::from_seed(&[1; 32]).executor();
        let lax = VerifyingKey::from_bytes(executor.as_bytes()).unwrap();
        let lax = ed25519_dalek::Verifier::verify(&lax, b"message", &Signature::from_bytes(&signature));
        assert!(lax.is_ok(), "the signature holds where the verification is not strict");
        assert_eq!(executor.verify(b"message", &signature), Err(SignatureError::Mismatch { executor }));
    }

    /// `p + y` for a small `y` encodes the same point as `y`.
    #[test]
    fn second_encodings_of_a_key_are_refused() {
        let mut n_refused = 0;
        for y in 0..19 {
            let mut key = [0xff; 32];
            key[0] = 0xed + y;
            key[31] = 0x7f;
            if VerifyingKey::from_bytes(&key).is_ok() {
                let id = ExecutorId::from_bytes(key);
                let expected = format!("executor {id} is not the canonical encoding of its point");
                assert_eq!(refusal(key), expected, "y = {y}");
                n_refused += 1;
            }
        }
        assert!(n_refused > 2, "only {n_refused} of the 19 candidates are points");
    }
}
