//! The keys that certificates of an epoch are signed and checked with.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use commonware_consensus::types::Epoch;
use commonware_cryptography::{
    bls12381::primitives::variant::MinSig,
    certificate::{Provider, Scoped},
};
use commonware_glue::dkg::{Registrar, types::SchemeInfo};

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
