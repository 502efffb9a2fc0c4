// Merkle trees of RFC 9162, written from its recursive definitions (sections 2.1.1 and 2.1.3.1), not from the
// iterative verification that the contract does.

import { createHash } from "node:crypto";

const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
const [LEAF, NODE] = [Buffer.from([0]), Buffer.from([1])];

/** Largest power of two below `n`, for `n` of at least two. */
const split = (n) => 2 ** Math.floor(Math.log2(n - 1));

/** MTH: the Merkle tree hash of a list of byte strings. */
export function treeHash(list) {
  if (list.length === 0) return sha256();
  if (list.length === 1) return sha256(LEAF, list[0]);
  const k = split(list.length);
  return sha256(NODE, treeHash(list.slice(0, k)), treeHash(list.slice(k)));
}

/** PATH: the inclusion proof of entry `m`, leaf to root. */
export function inclusionPath(list, m) {
  if (list.length === 1) return [];
  const k = split(list.length);
  if (m < k) return [...inclusionPath(list.slice(0, k), m), treeHash(list.slice(k))];
  return [...inclusionPath(list.slice(k), m - k), treeHash(list.slice(0, k))];
}
