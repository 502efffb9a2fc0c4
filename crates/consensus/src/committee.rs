//! The keys that certificates of an epoch are signed and checked with.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use commonware_consensus::types::Epoch;
use commonware_cryptography::{
    bls12381::primitives::variant::MinSig,
    certificate::{Provider, Scoped},
};
use commonware_glue::dkg::{Registrar, types::SchemeInfo};

use crate::{NAMESPACE, Scheme, block::PublicKey};

/// The scheme that signs and verifies in an epoch.
fn scheme(info: SchemeInfo<MinSig, PublicKey>) -> Scheme {
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
pub(crate) struct Schemes(Arc<Mutex<BTreeMap<Epoch, Known>>>);

struct Known {
    scheme: Arc<Scheme>,
    has_share: bool,
}

impl Schemes {
    /// Epochs whose schemes are kept; later ones replace the oldest.
    const COUNT_MAX: usize = 8;

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Epoch, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, epoch: Epoch, info: SchemeInfo<MinSig, PublicKey>) {
        let has_share = matches!(info, SchemeInfo::Signer { .. });
        let known = Known { scheme: Arc::new(scheme(info)), has_share };
        let mut schemes = self.lock();
        schemes.insert(epoch, known);
        while schemes.len() > Self::COUNT_MAX {
            schemes.pop_first();
        }
    }

    /// Whether this node signs in an epoch, as far as that is known yet.
    pub(crate) fn has_share(&self, epoch: Epoch) -> bool {
        self.lock().get(&epoch).is_some_and(|known| known.has_share)
    }
}

impl Provider for Schemes {
    type Scheme = Scheme;
    type Scope = Epoch;

    fn scoped(&self, epoch: Epoch) -> Option<Scoped<Scheme>> {
        self.scheme(epoch).map(Scoped::scheme)
    }

    fn scheme(&self, epoch: Epoch) -> Option<Arc<Scheme>> {
        self.lock().get(&epoch).map(|known| known.scheme.clone())
    }
}

impl Registrar for Schemes {
    type PublicKey = PublicKey;
    type Variant = MinSig;

    async fn register(&self, epoch: Epoch, info: SchemeInfo<MinSig, PublicKey>) {
        self.insert(epoch, info);
    }
}
