//! Who validates in which epoch, and the keys that certificates of an epoch are checked with.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use commonware_consensus::types::Epoch;
use commonware_cryptography::{
    bls12381::primitives::variant::MinSig,
    certificate::{Provider, Scoped},
};
use commonware_glue::dkg::{ParticipantsProvider, Registrar, network::Addresses, types::SchemeInfo};
use commonware_p2p::Address;
use commonware_utils::ordered::{Map, Set};

use crate::{NAMESPACE, Scheme, block::PublicKey};

/// The scheme that signs and verifies in an epoch.
pub(crate) fn scheme(info: SchemeInfo<MinSig, PublicKey>) -> Scheme {
    match info {
        SchemeInfo::Verifier { participants, sharing } => Scheme::verifier(NAMESPACE, participants, sharing),
        SchemeInfo::Member { participants, sharing, public_key } => {
            Scheme::member(NAMESPACE, participants, sharing, &public_key)
                .expect("a member is among the participants")
        }
        SchemeInfo::Signer { participants, sharing, share } => {
            let signer = Scheme::signer(NAMESPACE, participants, sharing, share);
            signer.expect("the share belongs to this epoch: was the data folder mixed with another node's?")
        }
    }
}

/// The schemes of the epochs that this node knows.
#[derive(Clone, Default)]
pub(crate) struct Schemes(Arc<Mutex<BTreeMap<Epoch, Arc<Scheme>>>>);

impl Schemes {
    /// Epochs whose schemes are kept; later ones replace the oldest.
    const COUNT_MAX: usize = 8;

    pub(crate) fn insert(&self, epoch: Epoch, scheme: Scheme) {
        let mut schemes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        schemes.insert(epoch, Arc::new(scheme));
        while schemes.len() > Self::COUNT_MAX {
            schemes.pop_first();
        }
    }
}

impl Provider for Schemes {
    type Scheme = Scheme;
    type Scope = Epoch;

    fn scoped(&self, epoch: Epoch) -> Option<Scoped<Scheme>> {
        self.scheme(epoch).map(Scoped::scheme)
    }

    fn scheme(&self, epoch: Epoch) -> Option<Arc<Scheme>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&epoch).cloned()
    }
}

impl Registrar for Schemes {
    type PublicKey = PublicKey;
    type Variant = MinSig;

    async fn register(&self, epoch: Epoch, info: SchemeInfo<MinSig, PublicKey>) {
        self.insert(epoch, scheme(info));
    }
}

/// Says who validates in future epochs, and where they are reached.
///
/// All nodes must give the same answers, and always the same: what one says is decided at the end of an epoch by all.
pub trait Election: Clone + Send + Sync + 'static {
    /// Who receives shares in `epoch`, to sign in the next: at least one and at most
    /// [`VALIDATORS_MAX`](crate::VALIDATORS_MAX). Asked when epoch `epoch - 2` ends.
    fn validators(&self, epoch: u64) -> impl Future<Output = Set<PublicKey>> + Send;

    /// Where `peers`, who were elected in this epoch or earlier ones, are reached in `epoch`: one address for each. Asked
    /// when epoch `epoch - 1` ends.
    fn addresses(
        &self,
        epoch: u64,
        peers: Set<PublicKey>,
    ) -> impl Future<Output = Addresses<PublicKey>> + Send;
}

/// Translates an election for resharing.
#[derive(Clone)]
pub(crate) struct Participants<L>(pub(crate) L);

impl<L: Election> ParticipantsProvider for Participants<L> {
    type Directory = Addresses<PublicKey>;
    type PublicKey = PublicKey;

    async fn participants(&mut self, epoch: Epoch) -> Set<PublicKey> {
        self.0.validators(epoch.get()).await
    }

    async fn directory(&mut self, epoch: Epoch, peers: Set<PublicKey>) -> Addresses<PublicKey> {
        self.0.addresses(epoch.get(), peers).await
    }
}

/// The same validators for ever.
#[derive(Debug, Clone)]
pub struct Fixed(pub Arc<Map<PublicKey, Address>>);

impl Election for Fixed {
    async fn validators(&self, _: u64) -> Set<PublicKey> {
        self.0.keys().clone()
    }

    async fn addresses(&self, _: u64, peers: Set<PublicKey>) -> Addresses<PublicKey> {
        let address = |peer: PublicKey| self.0.get_value(&peer).cloned().map(|address| (peer, address));
        peers.into_iter().filter_map(address).collect()
    }
}
