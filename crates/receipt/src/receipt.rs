//! The signed statement: made, encoded, decoded, its signature checked.

use veracity_light::{Evidence, Subject};

use crate::{
    Claims, ClaimsError, DecodeError, ExecutorId, ExecutorKey, ReceiptId, SignatureError,
    codec::{self, Decoded},
    ids::RECEIPT_ID_CONTEXT,
};

/// A well-formed receipt. Its signature may still be wrong: [`verify`](crate::verify) decides what to believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    claims: Claims,
    executor: ExecutorId,
    signature: [u8; 64],
    evidence: Option<Evidence>,
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
        Ok(Self { claims, executor, signature, evidence: None })
    }

    /// Reads a receipt. The signature is not checked here.
    ///
    /// # Errors
    /// [`DecodeError`] unless the bytes are the one encoding of some receipt of version 1.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Decoded { claims, executor, signature, evidence } = codec::decode(bytes)?;
        Ok(Self { claims, executor, signature, evidence })
    }

    /// The bytes of this receipt: a tagged COSE_Sign1 (RFC 9052, section 4.2). What [`decode`](Self::decode) accepted
    /// comes back byte for byte.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&self.claims, &self.executor, &self.signature, self.evidence.as_ref())
    }

    /// The hash of the encoded bytes without evidence, so that evidence which comes later leaves the id as it is.
    #[must_use]
    pub fn id(&self) -> ReceiptId {
        let bare = codec::encode(&self.claims, &self.executor, &self.signature, None);
        ReceiptId::from_bytes(blake3::derive_key(RECEIPT_ID_CONTEXT, &bare))
    }

    /// The same receipt with this evidence, or none, in place of what it carried. The signature does not cover
    /// evidence: anybody can add it, and it proves itself.
    #[must_use]
    pub fn with_evidence(self, evidence: Option<Evidence>) -> Self {
        Self { evidence, ..self }
    }

    /// Evidence that the receipt is anchored, if it carries some. True only as far as it is checked.
    #[must_use]
    pub fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_ref()
    }

    /// What evidence for this receipt has to show; nothing if it has no sequence.
    #[must_use]
    pub fn subject(&self) -> Option<Subject> {
        let executor = *self.executor.as_bytes();
        let sequence = self.claims.sequence?;
        Some(Subject { executor, sequence, receipt_id: *self.id().as_bytes() })
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
