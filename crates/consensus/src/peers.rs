//! Who a node is connected to.

use commonware_consensus::types::Epoch;
use commonware_glue::dkg::network::{Addresses, Manager};
use commonware_p2p::{Address, PeerSetSubscription, Provider, TrackedPeers};
use commonware_utils::ordered::{Map, Set};

use crate::PublicKey;

/// Connects a node to the peers of each epoch, and always to those that it was told of: a node that was away for long finds
/// the others through them when all whom it knew have left.
#[derive(Debug, Clone)]
pub(crate) struct Peers<M> {
    pub(crate) inner: M,
    pub(crate) told: Map<PublicKey, Address>,
}

impl<M: Provider<PublicKey = PublicKey>> Provider for Peers<M> {
    type PublicKey = PublicKey;

    async fn peer_set(&mut self, id: u64) -> Option<TrackedPeers<PublicKey>> {
        self.inner.peer_set(id).await
    }

    async fn subscribe(&mut self) -> PeerSetSubscription<PublicKey> {
        self.inner.subscribe().await
    }
}

impl<M: Manager<PublicKey = PublicKey, Directory = Addresses<PublicKey>>> Manager for Peers<M> {
    type Directory = Addresses<PublicKey>;
    type Error = M::Error;

    /// The peers of epoch `e` are set `e + 1`: set 0 is that of a node which asks where to join, and a number counts once.
    fn track(
        &mut self,
        epoch: Epoch,
        peers: TrackedPeers<PublicKey>,
        directory: &Addresses<PublicKey>,
    ) -> Result<(), M::Error> {
        let primary = Set::from_iter_dedup(peers.primary.iter().chain(self.told.keys().iter()).cloned());
        // What the network says of a peer is newer.
        let known = directory.clone().into_inner();
        let directory = Map::from_iter_dedup(known.into_iter().chain(self.told.clone()));
        self.inner.track(epoch.next(), TrackedPeers::new(primary, peers.secondary), &directory.into())
    }
}
