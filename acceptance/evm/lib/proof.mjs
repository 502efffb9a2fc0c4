// Verifies what `eth_getProof` gives (EIP-1186) with the trie of @ethereumjs/mpt, not with a node's own library.

import assert from 'node:assert/strict'
import { verifyMerkleProof } from '@ethereumjs/mpt'
import { RLP } from '@ethereumjs/rlp'
import { hexToBytes, pad, toHex } from 'viem'

const EMPTY_ROOT = '0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421'
const EMPTY_CODE = '0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470'

/** The value at `key`; null if the proof shows that there is none. An empty trie needs no node. */
async function proven(root, key, nodes) {
  if (root === EMPTY_ROOT && nodes.every((node) => node === '0x80')) return null
  return verifyMerkleProof(
    hexToBytes(key),
    nodes.map((node) => hexToBytes(node)),
    { root: hexToBytes(root), useKeyHashing: true },
  )
}

const quantity = (bytes) => (bytes.length ? BigInt(toHex(bytes)) : 0n)

/** Throws if account or slots are not what the proof proves under `stateRoot`. `proof` is as JSON-RPC gives it. */
export async function verifyProof(stateRoot, proof) {
  const leaf = await proven(stateRoot, proof.address, proof.accountProof)
  const account = leaf ? RLP.decode(leaf) : [[], [], hexToBytes(EMPTY_ROOT), hexToBytes(EMPTY_CODE)]
  const [nonce, balance, storageHash, codeHash] = account.map((field) => Uint8Array.from(field))
  assert.equal(quantity(nonce), BigInt(proof.nonce), 'nonce')
  assert.equal(quantity(balance), BigInt(proof.balance), 'balance')
  assert.equal(toHex(storageHash), proof.storageHash, 'storage hash')
  assert.equal(toHex(codeHash), proof.codeHash, 'code hash')
  for (const slot of proof.storageProof) {
    const value = await proven(proof.storageHash, pad(toHex(BigInt(slot.key)), { size: 32 }), slot.proof)
    assert.equal(value ? quantity(RLP.decode(value)) : 0n, BigInt(slot.value), `slot ${slot.key}`)
  }
  return Boolean(leaf)
}
