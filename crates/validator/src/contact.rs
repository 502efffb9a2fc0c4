//! Nodes by key and address, as people write them.

use std::{fmt, net::SocketAddr, str::FromStr};

use alloy_primitives::hex;
use commonware_p2p::Address;
use commonware_utils::ordered::Map;
use veracity_consensus::PublicKey;

use crate::keys::public_key;

/// A node and where it is reached; written `KEY@ADDRESS`, the key in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contact {
    /// Its key.
    pub key: [u8; 32],
    /// IP address and port.
    pub address: SocketAddr,
}

/// Why text or a key is no contact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContactError {
    /// Not a key and an address.
    #[error(
        "'{text}' is not KEY@ADDRESS: write the node's key, 64 hexadecimal digits, and where it is reached, as in \
         3b6a...@203.0.113.7:30303; veracity status shows those of the committee"
    )]
    Text {
        /// What was given.
        text: String,
    },
    /// Not the key of a node.
    #[error("{key} is not the key of a node: copy it from veracity status")]
    Key {
        /// What was given.
        key: String,
    },
    /// Nobody can connect to the address.
    #[error("nobody can connect to {address}: give the IP address and port at which others reach the node")]
    Address {
        /// What was given.
        address: SocketAddr,
    },
}

impl FromStr for Contact {
    type Err = ContactError;

    fn from_str(text: &str) -> Result<Self, ContactError> {
        let parse = || {
            let (key, address) = text.split_once('@')?;
            Some(Self { key: hex::decode_to_array(key).ok()?, address: address.parse().ok()? })
        };
        let contact = parse().ok_or_else(|| ContactError::Text { text: text.to_owned() })?;
        public_key(&contact.key).map_err(|_| ContactError::Key { key: hex::encode(contact.key) })?;
        if contact.address.port() == 0 || contact.address.ip().is_unspecified() {
            return Err(ContactError::Address { address: contact.address });
        }
        Ok(contact)
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", hex::encode(self.key), self.address)
    }
}

/// As consensus knows them. What is no key was refused when it was read.
pub(crate) fn directory(contacts: &[Contact]) -> Map<PublicKey, Address> {
    let known =
        |contact: &Contact| Some((public_key(&contact.key).ok()?, Address::Symmetric(contact.address)));
    Map::from_iter_dedup(contacts.iter().filter_map(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    #[test]
    fn a_contact_is_read_as_it_is_written() {
        let key = Identity::from_seed([7; 32]).public_key();
        for address in ["203.0.113.7:30303", "[2001:db8::7]:1"] {
            let contact = Contact { key, address: address.parse().unwrap() };
            assert_eq!(contact.to_string(), format!("{}@{address}", hex::encode(key)));
            assert_eq!(contact.to_string().parse(), Ok(contact));
            assert_eq!(format!("0x{contact}").parse(), Ok(contact));
        }
        let twice = Contact { key, address: "127.0.0.1:1".parse().unwrap() };
        assert_eq!(directory(&[twice, twice]).len(), 1);
    }

    #[test]
    fn what_is_no_contact_is_refused_with_a_reason() {
        let key = hex::encode(Identity::from_seed([7; 32]).public_key());
        let refuse = |text: &str| text.parse::<Contact>().unwrap_err().to_string();
        for text in
            ["", "@", &key, "127.0.0.1:1", &format!("{key}@node.example:1"), &format!("{key}@127.0.0.1")]
        {
            assert!(refuse(text).contains("is not KEY@ADDRESS"), "{text}");
        }
        // No point of the curve has this y.
        let none = format!("02{}", "00".repeat(31));
        assert_eq!(
            refuse(&format!("{none}@127.0.0.1:1")),
            format!("{none} is not the key of a node: copy it from veracity status")
        );
        for address in ["0.0.0.0:1", "127.0.0.1:0"] {
            assert!(refuse(&format!("{key}@{address}")).starts_with("nobody can connect to"), "{address}");
        }
    }
}
