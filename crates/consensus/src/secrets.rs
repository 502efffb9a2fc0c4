//! Shares of the network's key, and what resharing needs to go on after a crash.

use std::fmt;

use bytes::BufMut;
use commonware_codec::{Buf, EncodeSize, Error as CodecError, RangeCfg, Read, ReadExt as _, Write};
use commonware_consensus::types::Epoch;
use commonware_cryptography::{
    PublicKey,
    bls12381::{dkg::feldman_desmedt::DealerPrivMsg, primitives::group::Share},
    transcript::Summary,
};
use commonware_glue::dkg::SecretStore;
use commonware_storage::{
    Context,
    metadata::{Config, Metadata},
};
use commonware_utils::sequence::U64;

use crate::block::VALIDATORS_MAX;

/// What a validator must keep to itself, on disk.
pub struct Secrets<E: Context>(Option<Metadata<E, U64, EpochSecrets>>);

impl<E: Context> fmt::Debug for Secrets<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// The secrets of one epoch.
#[derive(Clone, Default)]
pub(crate) struct EpochSecrets {
    share: Option<Share>,
    seed: Option<Summary>,
    /// By the encoded key of the dealer.
    dealings: Vec<(Vec<u8>, DealerPrivMsg)>,
}

const KEY_BYTES_MAX: usize = 64;

impl Write for EpochSecrets {
    fn write(&self, out: &mut impl BufMut) {
        self.share.write(out);
        self.seed.write(out);
        self.dealings.write(out);
    }
}

impl EncodeSize for EpochSecrets {
    fn encode_size(&self) -> usize {
        self.share.encode_size() + self.seed.encode_size() + self.dealings.encode_size()
    }
}

impl Read for EpochSecrets {
    type Cfg = ();

    fn read_cfg(from: &mut impl Buf, (): &()) -> Result<Self, CodecError> {
        let count = usize::try_from(VALIDATORS_MAX.get()).unwrap_or(usize::MAX);
        let key = (RangeCfg::new(..=KEY_BYTES_MAX), ());
        Ok(Self {
            share: Option::read(from)?,
            seed: Option::read(from)?,
            dealings: Vec::read_cfg(from, &(RangeCfg::new(..=count), (key, ())))?,
        })
    }
}

impl<E: Context> Secrets<E> {
    /// Opens the store, which begins with `share` in epoch 0 if it is new.
    ///
    /// # Panics
    /// If it cannot be read or written.
    pub async fn open(context: E, partition: &str, share: Option<Share>) -> Self {
        let config = Config { partition: format!("{partition}-secrets"), codec_config: () };
        let metadata = Metadata::init(context, config).await.expect("the store of secrets can be read");
        // A share of an epoch that is over must not come back.
        let is_new = metadata.keys().next().is_none();
        let mut secrets = Self(Some(metadata));
        if let Some(share) = share.filter(|_| is_new) {
            secrets.put_share(Epoch::zero(), share).await;
        }
        secrets
    }

    fn get(&self, epoch: Epoch) -> Option<&EpochSecrets> {
        self.0.as_ref()?.get(&U64::new(epoch.get()))
    }

    async fn change(&mut self, epoch: Epoch, change: impl FnOnce(&mut EpochSecrets)) {
        let metadata = self.0.take().expect("an earlier write failed, which stopped the node");
        let written = metadata.upsert_sync(U64::new(epoch.get()), change).await;
        self.0 = Some(written.expect("the store of secrets can be written: is the disk full?"));
    }
}

impl<E: Context> SecretStore for Secrets<E> {
    async fn put_share(&mut self, epoch: Epoch, share: Share) {
        self.change(epoch, |secrets| secrets.share = Some(share)).await;
    }

    async fn get_share(&mut self, epoch: Epoch) -> Option<Share> {
        self.get(epoch)?.share.clone()
    }

    async fn put_seed(&mut self, epoch: Epoch, seed: Summary) {
        self.change(epoch, |secrets| secrets.seed = Some(seed)).await;
    }

    async fn get_seed(&mut self, epoch: Epoch) -> Option<Summary> {
        self.get(epoch)?.seed
    }

    async fn put_dealing<P: PublicKey>(&mut self, epoch: Epoch, dealer: P, private: DealerPrivMsg) {
        let dealer = dealer.to_vec();
        let put = |secrets: &mut EpochSecrets| {
            secrets.dealings.retain(|(key, _)| *key != dealer);
            secrets.dealings.push((dealer, private));
        };
        self.change(epoch, put).await;
    }

    async fn get_dealing<P: PublicKey>(&mut self, epoch: Epoch, dealer: &P) -> Option<DealerPrivMsg> {
        let dealer: &[u8] = dealer;
        let dealings = &self.get(epoch)?.dealings;
        dealings.iter().find(|(key, _)| key.as_slice() == dealer).map(|(_, private)| private.clone())
    }

    async fn prune(&mut self, min: Epoch) {
        let mut metadata = self.0.take().expect("an earlier write failed, which stopped the node");
        metadata.retain(|epoch, _| u64::from(epoch) >= min.get());
        self.0 = Some(metadata.sync().await.expect("the store of secrets can be written: is the disk full?"));
    }
}
