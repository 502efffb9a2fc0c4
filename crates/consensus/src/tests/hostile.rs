//! Bytes that are nearly what peers and disks give: decoders refuse them or read them with their one encoding, and never
//! panic. Fuzzing with instrumentation would have to compile the consensus library for it.

use alloy_consensus::{TxEip1559, TxEip2930, TxEnvelope, TxLegacy};
use alloy_eips::Encodable2718 as _;
use alloy_primitives::TxKind;
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use commonware_codec::Read;
use commonware_parallel::Sequential;
use tokio::sync::watch;
use veracity_chain::PoolLimits;
use veracity_testkit::Mutator;

use super::*;
use crate::{
    Payload, SharedPool, VALIDATORS_MAX,
    block::{BLOCK_BYTES_MAX, SHARING},
    elections,
    gossip::{self, Batch},
    secrets::EpochSecrets,
};

/// Changed inputs for each decoder.
const INPUTS: usize = 20_000;

/// What `good` become when they are changed is refused, or encoded as it was read. Returns how often it was read.
fn survives<T>(seed: u64, good: &[Vec<u8>], config: &T::Cfg) -> usize
where
    T: Read + commonware_codec::Encode,
{
    let reads = |bytes: &[u8]| T::decode_cfg(Copying(bytes), config).ok();
    for bytes in good {
        assert_eq!(&reads(bytes).unwrap().encode().to_vec(), bytes, "a good one");
    }
    let mut mutator = Mutator::new(seed, good);
    let mut count = 0;
    for _ in 0..INPUTS {
        let bytes = mutator.next_input();
        if let Some(value) = reads(&bytes) {
            assert_eq!(value.encode().to_vec(), bytes, "a second encoding");
            count += 1;
        }
    }
    count
}

fn sign<T: alloy_consensus::SignableTransaction<alloy_primitives::Signature>>(transaction: T) -> TxEnvelope
where
    TxEnvelope: From<alloy_consensus::Signed<T>>,
{
    let signer = PrivateKeySigner::from_bytes(&B256::with_last_byte(1)).unwrap();
    let signature = signer.sign_hash_sync(&transaction.signature_hash()).unwrap();
    transaction.into_signed(signature).into()
}

fn transactions() -> Vec<TxEnvelope> {
    let to = TxKind::Call([7; 20].into());
    let legacy = TxLegacy { chain_id: Some(CHAIN_ID), gas_limit: 21_000, to, ..TxLegacy::default() };
    let list = TxEip2930 {
        chain_id: CHAIN_ID,
        gas_limit: 90_000,
        input: vec![1; 40].into(),
        ..TxEip2930::default()
    };
    let market =
        TxEip1559 { chain_id: CHAIN_ID, nonce: 1, value: U256::from(300), to, ..TxEip1559::default() };
    vec![sign(legacy), sign(list), sign(market)]
}

fn with_transactions() -> Block {
    let block = child(&second(), round(0, 5), Some(seed(round(0, 3))), |_| ());
    let mut execution = block.execution().as_ref().clone();
    execution.transactions = transactions();
    execution.header.transactions_root =
        alloy_consensus::proofs::calculate_transaction_root(&execution.transactions);
    Block::new(execution, block.section().clone())
}

#[test]
fn blocks_and_sections_of_strangers() {
    let plain = child(&second(), round(0, 5), Some(seed(round(0, 3))), |_| ());
    let blocks = [genesis(), plain, with_transactions()];
    let bytes: Vec<_> = blocks.iter().map(|block| block.encode().to_vec()).collect();
    survives::<Block>(1, &bytes, &());
    let sections: Vec<_> = blocks.iter().map(|block| block.section().encode().to_vec()).collect();
    assert!(survives::<Section>(2, &sections, &()) > 0, "a section alone has no hash over it");
}

/// A block is found by its hash, so nothing that is read as one may carry what its hash does not cover: the section is
/// changed together with the header's commitment to it.
#[test]
fn blocks_that_commit_to_a_changed_section() {
    let good = with_transactions();
    let sections = [good.section().encode().to_vec(), genesis().section().encode().to_vec()];
    let mut mutator = Mutator::new(3, &sections);
    let mut count = 0;
    for _ in 0..INPUTS / 4 {
        let Ok(section) = Section::decode(Copying(&mutator.next_input())) else { continue };
        let mut execution = good.execution().as_ref().clone();
        execution.header.extra_data = section.hash().into();
        let block = Block::new(execution, section);
        let read = Block::decode(Copying(&block.encode())).unwrap();
        assert_eq!((read.digest(), read.encode()), (block.digest(), block.encode()));
        // Whatever it claims is judged without a panic.
        let _ = check_section(&second(), &read, |_| true);
        count += 1;
    }
    assert!(count > 100, "only {count} sections were read");
}

#[test]
fn messages_with_transactions_of_strangers() {
    let encoded = transactions().iter().map(|t| t.encoded_2718().into()).collect::<Vec<bytes::Bytes>>();
    let good: Vec<_> =
        [encoded.clone(), encoded[1..].to_vec()].map(|batch| Batch(batch).encode().to_vec()).into();
    assert!(survives::<Batch>(4, &good, &()) > 0);
    let (_, heads) = watch::channel(None);
    let limits = PoolLimits {
        chain_id: CHAIN_ID,
        transactions_max: 10,
        per_sender_max: 10,
        transaction_bytes_max: 1 << 17,
        gas_max: 100_000_000,
        fee_min: 1,
    };
    let (pool, _) = SharedPool::new(limits, heads);
    let mut mutator = Mutator::new(5, &good);
    let mut count = 0;
    for _ in 0..INPUTS / 4 {
        let Ok(batch) = Batch::decode(Copying(&mutator.next_input())) else { continue };
        let sent = batch.0.clone();
        let Some(read) = gossip::decode(&Sequential, batch, &pool) else { continue };
        // What is passed on is what came.
        for (transaction, bytes) in read.iter().zip(&sent) {
            assert_eq!(transaction.inner().encoded_2718(), bytes.as_ref(), "a second encoding");
        }
        assert_eq!(read.len(), sent.len());
        count += 1;
    }
    assert!(count > 10, "only {count} messages were read");
}

#[test]
fn what_a_damaged_disk_gives() {
    let good: Vec<_> = records().iter().map(|record| record.encode().to_vec()).collect();
    assert!(survives::<Record>(6, &good, &()) > 0);
    let Elected { players, directory } = elect(&epoch_of(&[1, 2]), &bonded(&[(3, "[::1]:3")]), CHAIN_ID, 64);
    let whole =
        elections::Record { info: Some(epoch_of(&[1, 2])), elected: Some(Elected { players, directory }) };
    let good = [whole.encode().to_vec(), elections::Record::default().encode().to_vec()];
    survives::<elections::Record>(7, &good, &());
    survives::<EpochSecrets>(8, &[EpochSecrets::default().encode().to_vec()], &());
    let info = epoch_of(&[1, 2, 3]);
    survives::<EpochInfo>(9, &[info.encode().to_vec()], &(VALIDATORS_MAX, SHARING));
    let payload = Payload::EpochInfo(info);
    survives::<Payload>(10, &[payload.encode().to_vec()], &(VALIDATORS_MAX, SHARING));
}

/// A length that is claimed and not there costs nothing.
#[test]
fn lengths_that_are_not_there_are_not_allocated() {
    let mut length = vec![];
    commonware_codec::Write::write(&commonware_codec::varint::UInt(u32::MAX), &mut length);
    assert!(Block::decode(Copying(&length)).is_err());
    assert!(Batch::decode(Copying(&length)).is_err());
    let mut most = vec![];
    let limit = u32::try_from(BLOCK_BYTES_MAX).unwrap();
    commonware_codec::Write::write(&commonware_codec::varint::UInt(limit), &mut most);
    assert!(Block::decode(Copying(&most)).is_err());
}
