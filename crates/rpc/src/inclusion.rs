//! What a light client needs to verify a transaction offline: certificate, headers, and inclusion proofs under a header.

use alloy_consensus::Header;
use alloy_eips::Encodable2718;
use alloy_primitives::{B256, Bytes};
use alloy_rpc_types_eth::BlockId;
use alloy_trie::{
    HashBuilder, Nibbles,
    proof::{ProofRetainer, ProofVerificationError, verify_proof},
    root::adjust_index_for_rlp,
};
use serde::{Deserialize, Serialize};

use crate::{Finalized, RpcError, convert::to_u64, node::Node};

/// Most headers between a block and the next one that has a certificate.
const HEADERS_MAX: u64 = 1024;

/// Why a block is final: a certificate of it or of a descendant, and the headers between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finalization {
    /// As consensus made it; it binds the hash of the last header.
    pub certificate: Bytes,
    /// Headers (RLP) from the block that was asked for up to the one that is certified; each is the parent of the next.
    pub headers: Vec<Bytes>,
}

/// That a transaction is in a block, and what it did there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionInclusion {
    /// The block's header (RLP).
    pub header: Bytes,
    /// Its hash.
    pub block_hash: B256,
    /// Its height.
    #[serde(with = "alloy_serde::quantity")]
    pub block_number: u64,
    /// The transaction's place in the block, which is the key in both tries.
    #[serde(with = "alloy_serde::quantity")]
    pub index: u64,
    /// The transaction (EIP-2718), under `transactionsRoot`.
    pub transaction: Bytes,
    /// Nodes from that root to the transaction.
    pub transaction_proof: Vec<Bytes>,
    /// The receipt (EIP-2718), under `receiptsRoot`.
    pub receipt: Bytes,
    /// Nodes from that root to the receipt.
    pub receipt_proof: Vec<Bytes>,
}

/// Verifies that `item` is at `index` of the list whose trie has this root: one of a header's `transactionsRoot` and
/// `receiptsRoot`.
///
/// # Errors
/// A [`ProofVerificationError`] if the proof does not show it.
pub fn verify_item(
    root: B256,
    index: u64,
    item: &[u8],
    proof: &[Bytes],
) -> Result<(), ProofVerificationError> {
    verify_proof(root, key(index), Some(item.to_vec()), proof)
}

/// `None` if nothing certifies the block yet.
pub(crate) fn finalization(node: &Node, block: BlockId) -> Result<Option<Finalization>, RpcError> {
    let Some(height) = node.height(block)? else { return Ok(None) };
    let Some((certified, certificate)) = node.chain.index().certificate_from(height)? else {
        return Ok(None);
    };
    if certified > node.chain.head().number() {
        return Ok(None);
    }
    let found = certified - height + 1;
    if found > HEADERS_MAX {
        let advice = "ask for a later block, which its headers prove earlier ones by";
        let what = "headers up to the next certificate";
        return Err(RpcError::Limit { what, found, max: HEADERS_MAX, advice });
    }
    let header = |height| {
        let header: Option<Header> = node.chain.header(height)?;
        Ok(header.map(|header| Bytes::from(alloy_rlp::encode(header))))
    };
    let headers: Result<Vec<_>, RpcError> =
        (height..=certified).filter_map(|h| header(h).transpose()).collect();
    Ok(Some(Finalization { certificate: certificate.into(), headers: headers? }))
}

pub(crate) fn transaction(node: &Node, hash: B256) -> Result<Option<TransactionInclusion>, RpcError> {
    let Some((height, index)) = node.chain.place_of(hash)? else { return Ok(None) };
    let Some(block) = node.chain.block(height)? else { return Ok(None) };
    Ok(inclusion(&block, index))
}

fn inclusion(block: &Finalized, index: usize) -> Option<TransactionInclusion> {
    let transaction = block.transactions().get(index)?.encoded_2718().into();
    let receipt = block.receipts().get(index)?.encoded_2718().into();
    Some(TransactionInclusion {
        header: alloy_rlp::encode(block.header()).into(),
        block_hash: block.hash(),
        block_number: block.number(),
        index: to_u64(index),
        transaction,
        transaction_proof: proof(block.transactions(), index),
        receipt,
        receipt_proof: proof(block.receipts(), index),
    })
}

/// Nodes from the root of the trie of `items` to the one at `index`.
fn proof(items: &[impl Encodable2718], index: usize) -> Vec<Bytes> {
    let target = key(to_u64(index));
    let mut trie = HashBuilder::default().with_proof_retainer(ProofRetainer::new(vec![target]));
    for position in 0..items.len() {
        let index = adjust_index_for_rlp(position, items.len());
        trie.add_leaf(key(to_u64(index)), &items[index].encoded_2718());
    }
    trie.root();
    trie.take_proof_nodes().matching_nodes_sorted(&target).into_iter().map(|(_, node)| node).collect()
}

fn key(index: u64) -> Nibbles {
    Nibbles::unpack(alloy_rlp::encode_fixed_size(&index))
}
