import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { concat, keccak256, numberToHex, toHex } from "viem";
import { Chain, ROLE, VER, account, nodeKey } from "./support/chain.mjs";
import { allErrorsSeen, printGas, random, reverts } from "./support/checks.mjs";
import { inclusionPath, treeHash } from "./support/rfc9162.mjs";

const DELAY = 604_800;
const root = `0x${"11".repeat(32)}`;

let chain, stake, receipts, worker, clean;
before(async () => {
  chain = await Chain.start();
  stake = chain.contract("Stake");
  receipts = chain.contract("Receipts");
  worker = await register("worker", ROLE.WORKER);
});
after(() => chain.stop());
beforeEach(async () => (clean = await chain.snapshot()));
afterEach(() => chain.revert(clean));

async function register(seed, roles) {
  const node = { ...nodeKey(seed), operator: account(`operator of ${seed}`) };
  await chain.fund(node.operator);
  const value = await stake.read("requiredBond", [roles]);
  await stake.send(node.operator, "register", [node.id, roles, "", await chain.bind(node, node.operator)], { value });
  return node;
}
const anchor = (first, count, { node = worker, from = node.operator, tree = root, gas } = {}) =>
  receipts.send(from, "anchor", [node.id, first, count, tree], { gas });
const ids = (seed, count) => Array.from({ length: count }, (_, i) => `0x${createHash("sha256").update(`${seed} ${i}`).digest("hex")}`);
const leaves = (list) => list.map((id) => Buffer.from(id.slice(2), "hex"));
const hex = (bytes) => toHex(bytes);

describe("anchor", () => {
  test("stores the batch and emits it", async () => {
    const { events } = await anchor(0n, 3, { gas: "anchor(first batch)" });
    const { number, time } = await chain.block();
    assert.deepEqual(events.map(({ eventName, args }) => [eventName, args]), [
      ["Anchored", { nodeId: worker.id, batch: 0n, first: 0n, count: 3, root }],
    ]);
    const batch = { root, first: 0n, count: 3, height: BigInt(number), anchoredAt: BigInt(time) };
    assert.deepEqual(await receipts.read("batchAt", [worker.id, 0n]), batch);
    assert.equal(await receipts.read("nextSequence", [worker.id]), 3n);
    const second = await anchor(3n, 65_536, { gas: "anchor" });
    assert.deepEqual(second.events[0].args, { nodeId: worker.id, batch: 1n, first: 3n, count: 65_536, root });
    assert.equal(await receipts.read("anchor", [worker.id, 65_539n, 1, root], { from: worker.operator }), 2n);
    assert.equal(await receipts.read("nextSequence", [worker.id]), 65_539n);
    assert.equal(await receipts.read("batchCount", [worker.id]), 2n);
  });

  test("storage is where the specification says", async () => {
    await anchor(0n, 3);
    const { number, time } = await chain.block();
    const length = BigInt(keccak256(concat([worker.id, numberToHex(0, { size: 32 })])));
    assert.equal(BigInt(await chain.storage(receipts.address, length)), 1n);
    const first = BigInt(keccak256(toHex(length, { size: 32 })));
    assert.equal(await chain.storage(receipts.address, first), root);
    const packed = BigInt(await chain.storage(receipts.address, first + 1n));
    assert.equal(packed, (BigInt(time) << 160n) | (BigInt(number) << 96n) | (3n << 64n) | 0n);
  });

  test("refuses gaps, repetition and overlap", async () => {
    await reverts(anchor(1n, 1), "WrongSequence", [0n, 1n]);
    await anchor(0n, 10);
    for (const first of [0n, 9n, 11n, 2n ** 64n - 1n]) await reverts(anchor(first, 1), "WrongSequence", [10n, first]);
    await anchor(10n, 1);
  });

  test("refuses empty and oversized batches and a missing root", async () => {
    for (const count of [0, 65_537, 2 ** 32 - 1]) await reverts(anchor(0n, count), "BadCount", [BigInt(count)]);
    await reverts(anchor(0n, 1, { tree: `0x${"00".repeat(32)}` }), "EmptyRoot");
    await anchor(0n, 65_536);
  });

  test("is for the operator of a bonded worker, until its delay after leaving is over", async () => {
    await reverts(anchor(0n, 1, { from: account("somebody") }), "NotOperator", [worker.id, worker.operator, account("somebody")]);
    await reverts(anchor(0n, 1, { node: { ...nodeKey("nobody"), operator: worker.operator } }), "UnknownNode");
    const host = await register("host", ROLE.HOST);
    await reverts(anchor(0n, 1, { node: host }), "NotBondedWorker", [host.id]);
    await stake.send(worker.operator, "setRoles", [worker.id, 0]);
    await stake.send(worker.operator, "unbond", [worker.id, 1_000n * VER]);
    await anchor(0n, 1);
    await chain.warp(DELAY - 5);
    await anchor(1n, 1);
    await chain.warp(5);
    await reverts(anchor(2n, 1), "NotBondedWorker", [worker.id]);
    assert.equal(await receipts.read("nextSequence", [worker.id]), 2n);
  });

  test("executors do not share sequences", async () => {
    const other = await register("other", ROLE.WORKER);
    await anchor(0n, 5);
    await reverts(anchor(5n, 1, { node: other }), "WrongSequence", [0n, 5n]);
    await anchor(0n, 7, { node: other });
    assert.equal(await receipts.read("nextSequence", [worker.id]), 5n);
    assert.equal(await receipts.read("nextSequence", [other.id]), 7n);
  });

  test("law: sequences have no gap, and each has one place, under random batches", async () => {
    const rng = random(9162);
    const model = []; // [first, count]
    let next = 0n;
    for (let i = 0; i < 60; i++) {
      const count = rng.chance(0.3) ? 1 : 1 + rng.below(rng.chance(0.1) ? 65_536 : 40);
      if (rng.chance(0.2)) await reverts(anchor(next + BigInt(1 + rng.below(9)), count), "WrongSequence");
      if (next > 0n && rng.chance(0.2)) await reverts(anchor(next - 1n, count), "WrongSequence");
      await anchor(next, count);
      model.push([next, BigInt(count)]);
      next += BigInt(count);
    }
    assert.equal(await receipts.read("nextSequence", [worker.id]), next);
    for (const [batch, [first, count]] of model.entries()) {
      const stored = await receipts.read("batchAt", [worker.id, BigInt(batch)]);
      assert.deepEqual([stored.first, BigInt(stored.count)], [first, count]);
      for (const index of new Set([0n, count / 2n, count - 1n])) {
        assert.deepEqual(await receipts.read("locate", [worker.id, first + index]), [BigInt(batch), index]);
      }
    }
    await reverts(receipts.read("locate", [worker.id, next]), "NotAnchored", [worker.id, next]);
    await reverts(receipts.read("locate", [worker.id, 2n ** 64n - 1n]), "NotAnchored");
    await reverts(receipts.read("locate", [nodeKey("nobody").id, 0n]), "NotAnchored", [nodeKey("nobody").id, 0n]);
    await reverts(receipts.read("batchAt", [worker.id, 60n]), "UnknownBatch", [worker.id, 60n]);
  });
});

describe("verify", () => {
  const verify = (batch, index, id, path) => receipts.read("verify", [worker.id, BigInt(batch), BigInt(index), id, path]);

  test("RFC 9162: every leaf of trees of 1 to 70 leaves", async () => {
    const rng = random(70);
    let next = 0n;
    for (let size = 1; size <= 70; size++) {
      const list = ids(`tree ${size}`, size);
      await anchor(next, size, { tree: hex(treeHash(leaves(list))) });
      next += BigInt(size);
      for (let index = 0; index < size; index++) {
        const path = inclusionPath(leaves(list), index).map(hex);
        assert.equal(await verify(size - 1, index, list[index], path), true, `${index} of ${size}`);
      }
      // Wrong in one way each, at a random place of the tree.
      const index = rng.below(size);
      const path = inclusionPath(leaves(list), index).map(hex);
      const flip = (value) => toHex(BigInt(value) ^ (1n << BigInt(rng.below(256))), { size: 32 });
      const wrong = [
        ["leaf", index, flip(list[index]), path],
        ["longer path", index, list[index], [...path, root]],
        ["index beyond", size, list[index], path],
        ["index far beyond", 2n ** 256n - 1n, list[index], path],
      ];
      for (const level of path.keys()) wrong.push([`sibling ${level}`, index, list[index], path.with(level, flip(path[level]))]);
      if (size > 1) {
        wrong.push(["another index", (index + 1) % size, list[index], path]);
        wrong.push(["shorter path", index, list[index], path.slice(0, -1)]);
        wrong.push(["no path", index, list[index], []]);
      }
      for (const [what, at, id, proof] of wrong) assert.equal(await verify(size - 1, at, id, proof), false, `${what}, ${index} of ${size}`);
      // An inner node is not a leaf: the two are hashed with different first bytes.
      if (size === 2) assert.equal(await verify(1, 0, hex(treeHash(leaves(list))), []), false);
    }
    await reverts(verify(70, 0, root, []), "UnknownBatch", [worker.id, 70n]);
    await reverts(receipts.read("verify", [nodeKey("nobody").id, 0n, 0n, root, []]), "UnknownBatch", [nodeKey("nobody").id, 0n]);
  });

  test("the largest batch", async () => {
    const list = ids("large", 65_536);
    await anchor(0n, 65_536, { tree: hex(treeHash(leaves(list))) });
    for (const index of [0, 1, 32_768, 65_535]) {
      const path = inclusionPath(leaves(list), index).map(hex);
      assert.equal(path.length, 16);
      assert.equal(await verify(0, index, list[index], path), true);
    }
    const path = inclusionPath(leaves(list), 12_345).map(hex);
    const { gasUsed } = await receipts.send(account("anyone"), "verify", [worker.id, 0n, 12_345n, list[12_345], path]);
    chain.gas.set("Receipts.verify(16 levels) as a transaction", Number(gasUsed));
    const endless = Array(4_000).fill(root);
    assert.equal(await verify(0, 0, list[0], endless), false);
  });
});

test("the model of RFC 9162 agrees with the RFC's own example shape and known hashes", () => {
  // Section 2.1.1: the hash of an empty list, and of one leaf.
  assert.equal(treeHash([]).toString("hex"), createHash("sha256").digest("hex"));
  assert.equal(treeHash([Buffer.alloc(0)]).toString("hex"), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
  // Section 2.1.5: seven leaves; the path of d0 is [b, h, l], of d3 [c, g, l], of d4 [f, j, k], of d6 [i, k].
  const d = Array.from({ length: 7 }, (_, i) => Buffer.from([i]));
  const [a, b, c, dd, e, f, j] = d.map((leaf) => treeHash([leaf]));
  const node = (x, y) => createHash("sha256").update(Buffer.concat([Buffer.from([1]), x, y])).digest();
  const [g, h, i] = [node(a, b), node(c, dd), node(e, f)];
  const [k, l] = [node(g, h), node(i, j)];
  assert.deepEqual(inclusionPath(d, 0), [b, h, l]);
  assert.deepEqual(inclusionPath(d, 3), [c, g, l]);
  assert.deepEqual(inclusionPath(d, 4), [f, j, k]);
  assert.deepEqual(inclusionPath(d, 6), [i, k]);
  assert.deepEqual(treeHash(d), node(k, l));
});

test("every error of the contract was reached", () => {
  allErrorsSeen(receipts);
  printGas(chain);
});
