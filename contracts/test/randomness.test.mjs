import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { keccak256, toHex } from "viem";
import { Chain, account } from "./support/chain.mjs";
import { allErrorsSeen, printGas, reverts } from "./support/checks.mjs";

const WINDOW = 8192;

let chain, randomness, clean;
before(async () => {
  chain = await Chain.start();
  randomness = chain.contract("Randomness");
});
after(() => chain.stop());
beforeEach(async () => (clean = await chain.snapshot()));
afterEach(() => chain.revert(clean));

const valueOf = (height) => keccak256(toHex(`value of ${height}`));
/** What the protocol writes for a decided block, at the slots that the specification gives. */
async function write(height) {
  await chain.setStorage(randomness.address, BigInt(height % WINDOW), valueOf(height));
  await chain.setStorage(randomness.address, BigInt(WINDOW + (height % WINDOW)), BigInt(height));
}
const read = (height) => randomness.read("randomness", [BigInt(height)]);
async function mineTo(height) {
  const { number } = await chain.block();
  if (height > number) await chain.mine(height - number);
  assert.equal((await chain.block()).number, height);
}

test("gives the values of past blocks only", async () => {
  await mineTo(10);
  for (let height = 1; height <= 10; height++) await write(height);
  for (let height = 1; height < 10; height++) assert.equal(await read(height), valueOf(height));
  // Its own value is known to the proposer of a block before the block is decided: the contract withholds it.
  for (const height of [10, 11, 10_000]) await reverts(read(height), "NotYet", [BigInt(height), 10n]);
  await reverts(randomness.read("randomness", [2n ** 256n - 1n]), "NotYet");
  await mineTo(11);
  assert.equal(await read(10), valueOf(10));
});

test("the genesis block has none, nor has a block for which none was written", async () => {
  await mineTo(10);
  await reverts(read(0), "NoValue", [0n]);
  await reverts(read(5), "NoValue", [5n]);
  await chain.setStorage(randomness.address, 0n, 1n);
  await reverts(read(0), "NoValue", [0n]);
});

test("keeps 8192 and never gives an old value for a new height", async (context) => {
  const height = 3 * WINDOW + 5;
  const before = { chain, randomness };
  chain = await Chain.start({ args: ["--number", height] });
  randomness = chain.contract("Randomness");
  context.after(async () => {
    await chain.stop();
    for (const error of chain.errors.get("Randomness")) before.chain.errors.get("Randomness").add(error);
    ({ chain, randomness } = before);
  });
  assert.equal((await chain.block()).number, height);
  await write(height - WINDOW);
  assert.equal(await read(height - WINDOW), valueOf(height - WINDOW));
  await reverts(read(height - WINDOW - 1), "TooOld", [BigInt(height - WINDOW - 1), BigInt(height - WINDOW)]);
  await reverts(read(0), "TooOld");
  // The place of height - 1 still has the value of one turn before.
  await write(height - 1 - WINDOW);
  await reverts(read(height - 1), "NoValue", [BigInt(height - 1)]);
  await write(height - 1);
  assert.equal(await read(height - 1), valueOf(height - 1));
  // The protocol overwrites the place of `height - WINDOW` when it writes `height`, in the next block.
  await write(height);
  await reverts(read(height - WINDOW), "NoValue", [BigInt(height - WINDOW)]);
  await mineTo(height + 1);
  assert.equal(await read(height), valueOf(height));
  await reverts(read(height - WINDOW), "TooOld", [BigInt(height - WINDOW), BigInt(height - WINDOW + 1)]);
});

test("has no function that writes", async () => {
  const writers = randomness.abi.filter(({ type, stateMutability }) => type === "function" && !["view", "pure"].includes(stateMutability));
  assert.deepEqual(writers, []);
  assert.equal(await randomness.read("WINDOW"), BigInt(WINDOW));
  await mineTo(5);
  await write(4);
  const { gasUsed } = await randomness.send(account("anyone"), "randomness", [4n]);
  chain.gas.set("Randomness.randomness as a transaction", Number(gasUsed));
});

test("every error of the contract was reached", () => {
  allErrorsSeen(randomness);
  printGas(chain);
});
