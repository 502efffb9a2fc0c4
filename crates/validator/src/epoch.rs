//! What a validator knows of an epoch.

use std::net::SocketAddr;

use commonware_p2p::{Address, Ingress};
use commonware_utils::ordered::Set;
use veracity_consensus::{EpochStatus, PublicKey};

use crate::keys::bytes_of;

/// The epoch of the next block, as a validator knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochView {
    /// Its number.
    pub epoch: u64,
    /// Height of its first block.
    pub first: u64,
    /// Height of its last block.
    pub last: u64,
    /// Who signs.
    pub committee: Vec<Member>,
    /// Who was elected to sign in the epochs after this one, the next first: two, and a third after the middle block.
    pub coming: Vec<Vec<Member>>,
    /// How many epochs in a row, up to the last, ended without new shares, so that the committee signs for longer than it
    /// was elected for.
    pub failures: u64,
    /// Whether this validator signs.
    pub has_share: bool,
}

/// A validator and where it is reached, if that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its key.
    pub key: [u8; 32],
    /// Where it is reached.
    pub address: Option<SocketAddr>,
}

fn member(key: &PublicKey, address: Option<&Address>) -> Member {
    let address = address.and_then(|address| match address.ingress() {
        Ingress::Socket(address) => Some(address),
        Ingress::Dns { .. } => None,
    });
    // Who is reached nowhere stands in the directory with port 0.
    Member { key: bytes_of(key), address: address.filter(|address| address.port() != 0) }
}

impl From<&EpochStatus> for EpochView {
    fn from(status: &EpochStatus) -> Self {
        let info = &status.info;
        let members = |keys: &Set<PublicKey>| {
            keys.iter().map(|key| member(key, info.directory.get(key))).collect::<Vec<_>>()
        };
        let elected = status.elected.as_ref();
        let elected = elected.map(|map| map.iter_pairs().map(|(key, at)| member(key, at.as_ref())).collect());
        Self {
            epoch: info.epoch.get(),
            first: status.first,
            last: status.last,
            committee: members(info.output.players()),
            coming: [members(&info.players), members(&info.next_players)]
                .into_iter()
                .chain(elected)
                .collect(),
            failures: status.failures,
            has_share: status.has_share,
        }
    }
}
