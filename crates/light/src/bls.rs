//! BLS signatures over BLS12-381 with public keys in G2 (specification, sections 2 and 3).

use std::{fmt, ops::Neg as _, str::FromStr, sync::LazyLock};

use ark_bls12_381::{Bls12_381, G1Affine, G1Projective, G2Affine, g1};
use ark_ec::{
    AffineRepr,
    hashing::{HashToCurve as _, curve_maps::wb::WBMap, map_to_curve_hasher::MapToCurveBasedHasher},
    pairing::Pairing,
};
use ark_ff::{Zero as _, field_hashers::DefaultFieldHasher};
use ark_serialize::CanonicalDeserialize;
use sha2::Sha256;

use crate::{KeyError, hash::write_hex};

/// Bytes of a network key.
pub const NETWORK_KEY_BYTES: usize = 96;

/// Domain of hashing to G1, of all signatures by validators.
const DOMAIN: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";

type G2Prepared = <Bls12_381 as Pairing>::G2Prepared;
type Hasher = MapToCurveBasedHasher<G1Projective, DefaultFieldHasher<Sha256>, WBMap<g1::Config>>;

/// The public key of a network: it verifies every block for ever.
///
/// About 20 KB, because it holds what pairings need; clone it seldom.
#[derive(Clone)]
pub struct NetworkKey {
    bytes: [u8; NETWORK_KEY_BYTES],
    key: G2Prepared,
}

/// The same for all keys.
static MINUS_GENERATOR: LazyLock<G2Prepared> = LazyLock::new(|| G2Affine::generator().neg().into());

impl NetworkKey {
    /// Reads a key.
    ///
    /// # Errors
    /// [`KeyError`] unless the bytes are the one encoding of a point that can be a key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: [u8; NETWORK_KEY_BYTES] =
            bytes.try_into().map_err(|_| KeyError::Length { found: bytes.len() })?;
        let point: G2Affine = decode_point(&bytes).ok_or(KeyError::Point)?;
        Ok(Self { bytes, key: point.into() })
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; NETWORK_KEY_BYTES] {
        &self.bytes
    }

    /// Whether `e(hash, key) = e(signature, g2)`, computed as one product.
    pub(crate) fn verify(&self, hash: G1Affine, signature: G1Affine) -> bool {
        let product =
            Bls12_381::multi_miller_loop([hash, signature], [self.key.clone(), MINUS_GENERATOR.clone()]);
        Bls12_381::final_exponentiation(product).is_some_and(|result| result.is_zero())
    }
}

impl PartialEq for NetworkKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for NetworkKey {}

/// 192 lower-case hex digits.
impl fmt::Display for NetworkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.bytes)
    }
}

impl fmt::Debug for NetworkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkKey({self})")
    }
}

/// The inverse of `Display`; one newline may follow.
impl FromStr for NetworkKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let digits = text.strip_suffix('\n').unwrap_or(text).as_bytes();
        let (pairs, odd) = digits.as_chunks::<2>();
        if pairs.len() != NETWORK_KEY_BYTES || !odd.is_empty() {
            return Err(KeyError::Digits { found: digits.len() });
        }
        let byte = |(pair, [high, low]): (usize, &[u8; 2])| match (hex_digit(*high), hex_digit(*low)) {
            (Some(high), Some(low)) => Ok((high << 4) | low),
            _ => Err(KeyError::Digit { pair }),
        };
        let bytes = pairs.iter().enumerate().map(byte).collect::<Result<Vec<u8>, _>>()?;
        Self::from_bytes(&bytes)
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'a'..=b'f' => digit.checked_sub(b'a')?.checked_add(10),
        _ => None,
    }
}

/// A signature, if these bytes are the one encoding of a point that can be one.
pub(crate) fn decode_signature(bytes: &[u8; 48]) -> Option<G1Affine> {
    decode_point(bytes)
}

/// On the curve and in the subgroup (which the library checks), canonical, not neutral.
fn decode_point<P: AffineRepr + CanonicalDeserialize>(bytes: &[u8]) -> Option<P> {
    P::deserialize_compressed(bytes).ok().filter(|point| !point.is_zero())
}

/// The point that is signed in place of a message.
pub(crate) fn hash_to_curve(namespace: &[u8], message: &[u8]) -> Option<G1Affine> {
    let length = u8::try_from(namespace.len()).ok().filter(|length| *length < 0x80)?;
    let framed = [&[length], namespace, message].concat();
    Hasher::new(DOMAIN).ok()?.hash(&framed).ok()
}
