//! Accounts that pay for transactions.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;

/// An account by its private key. Clones are the same account: transactions that they send take turns.
#[derive(Clone)]
pub struct Account {
    signer: PrivateKeySigner,
    /// Held from asking for the next nonce until the node has the transaction.
    turn: Arc<Mutex<()>>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Account").field(&self.address()).finish()
    }
}

/// Why bytes or text are no private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not 32 bytes in hexadecimal digits.
    #[error("a private key is 64 hexadecimal digits, with or without 0x in front")]
    Text,
    /// Zero, or not below the order of the curve.
    #[error("these 32 bytes are no private key of secp256k1: make a new one")]
    Range,
}

impl Account {
    /// The account of a private key.
    ///
    /// # Errors
    /// [`KeyError::Range`].
    pub fn from_key(key: B256) -> Result<Self, KeyError> {
        let signer = PrivateKeySigner::from_bytes(&key).map_err(|_| KeyError::Range)?;
        Ok(Self { signer, turn: Arc::default() })
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.signer.address()
    }

    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sign(&self, transaction: TxEip1559) -> TxEnvelope {
        let signature = self.signer.sign_hash_sync(&transaction.signature_hash());
        transaction.into_signed(signature.expect("a local key signs every hash")).into()
    }
}

impl FromStr for Account {
    type Err = KeyError;

    /// Reads a private key in hexadecimal digits; white space around it does not matter.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_key(text.trim().parse().map_err(|_| KeyError::Text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_refused_with_a_reason() {
        for text in ["", "0x", "zz", &"a".repeat(63), &"a".repeat(65), "0xä"] {
            assert_eq!(text.parse::<Account>().unwrap_err(), KeyError::Text, "{text}");
        }
        for bytes in [[0; 32], [0xff; 32]] {
            assert_eq!(Account::from_key(bytes.into()).unwrap_err(), KeyError::Range);
        }
    }

    /// The first account of the phrase that all tools for development use.
    #[test]
    fn a_key_has_its_address_and_stays_secret() {
        let key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
        let account: Account = format!(" {key}\n").parse().unwrap();
        assert_eq!(account.address().to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        assert!(!format!("{account:?}").to_lowercase().contains("ac0974"), "{account:?}");
        assert_eq!(key[2..].parse::<Account>().unwrap().address(), account.address());
    }
}
