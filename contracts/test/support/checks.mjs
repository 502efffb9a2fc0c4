// Assertions that several test files use.

import assert from "node:assert/strict";
import { Reverted } from "./chain.mjs";

/** Asserts that a call reverts with this error and these arguments. */
export async function reverts(promise, errorName, args) {
  try {
    await promise;
  } catch (error) {
    if (!(error instanceof Reverted)) throw error;
    assert.equal(error.errorName, errorName, `expected ${errorName}, got ${error.message}`);
    if (args) assert.deepEqual(error.args ?? [], args, error.message);
    return;
  }
  assert.fail(`expected ${errorName}, but the call succeeded`);
}

/** Asserts that a test file has seen every error of its contract. */
export function allErrorsSeen(contract) {
  const seen = contract.chain.errors.get(contract.name);
  const missing = contract.abi.filter(({ type, name }) => type === "error" && !seen.has(name)).map(({ name }) => name);
  assert.deepEqual(missing, [], `${contract.name}: no test reaches these errors`);
}

/** Prints the gas that a test file measured. */
export function printGas(chain) {
  for (const [call, gas] of chain.gas) console.log(`gas  ${call.padEnd(58)} ${String(gas).padStart(8)}`);
}

/** A seeded generator (mulberry32), so that a failure can be repeated; the environment variable SEED gives other runs. */
export function random(seed) {
  let state = (seed + Number(process.env.SEED ?? 0)) >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n) => Math.floor(next() * n);
  return { below, pick: (list) => list[below(list.length)], chance: (p) => next() < p };
}
