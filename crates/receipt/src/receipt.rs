//! The signed statement: made, encoded, decoded, its signature checked.

use crate::{
    Claims, ClaimsError, DecodeError, ExecutorId, ExecutorKey, ReceiptId, SignatureError, codec,
    ids::RECEIPT_ID_CONTEXT,
};

/// A well-formed receipt. Its signature may still be wrong: [`verify`](crate::verify) decides what to believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    claims: Claims,
    executor: ExecutorId,
    signature: [u8; 64],
}

impl Receipt {
    /// Signs claims. The same claims and key give the same receipt (RFC 8032 signatures are deterministic).
    ///
    /// # Errors
    /// [`ClaimsError`] if a name is empty, too long or not graphic ASCII, or if a JSON length exceeds its body.
    pub fn sign(claims: Claims, key: &ExecutorKey) -> Result<Self, ClaimsError> {
        claims.validate()?;
        let executor = key.executor();
        let signature = key.sign(&codec::signed_bytes(&claims, &executor));
        Ok(Self { claims, executor, signature })
    }

    /// Reads a receipt. The signature is not checked here.
    ///
    /// # Errors
    /// [`DecodeError`] unless the bytes are the one encoding of some receipt of version 1.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (claims, executor, signature) = codec::decode(bytes)?;
        Ok(Self { claims, executor, signature })
    }

    /// The bytes of this receipt: a tagged COSE_Sign1 (RFC 9052, section 4.2). What [`decode`](Self::decode) accepted
    /// comes back byte for byte.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&self.claims, &self.executor, &self.signature)
    }

    /// The hash of the encoded bytes.
    #[must_use]
    pub fn id(&self) -> ReceiptId {
        ReceiptId::from_bytes(blake3::derive_key(RECEIPT_ID_CONTEXT, &self.encode()))
    }

    /// What is stated.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Who states it. True only if the signature is right.
    #[must_use]
    pub fn executor(&self) -> ExecutorId {
        self.executor
    }

    /// The Ed25519 signature.
    #[must_use]
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// Checks the signature, strictly (specification, section 4).
    ///
    /// # Errors
    /// [`SignatureError`] if the key is unusable or the signature is not its own over these claims.
    pub fn verify_signature(&self) -> Result<(), SignatureError> {
        self.executor.verify(&codec::signed_bytes(&self.claims, &self.executor), &self.signature)
    }
}
