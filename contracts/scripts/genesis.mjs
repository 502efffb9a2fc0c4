// Genesis storage of the system contracts: the first values of the parameters, at their slots.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { encodeAbiParameters, keccak256, stringToHex, toHex } from "viem";
import { ROOT, SYSTEM } from "./compile.mjs";

/** Name of a parameter as the contract knows it. */
export const parameterName = (name) => stringToHex(name, { size: 32 });

/** Storage slot of a parameter: it is the mapping at slot 0. */
export const parameterSlot = (name) =>
  keccak256(encodeAbiParameters([{ type: "bytes32" }, { type: "uint256" }], [parameterName(name), 0n]));

/** Storage slot of the first value of `validators_max`, which bounds every later one. */
export const GENESIS_VALIDATORS_MAX_SLOT = toHex(4n, { size: 32 });

/** Values to start with, by name. */
export const genesisParameters = () => JSON.parse(readFileSync(join(ROOT, "genesis-parameters.json"), "utf8"));

/** Accounts of the system contracts at genesis, without their code, and where each parameter is. */
export function genesisStorage(artifacts, parameters) {
  const slots = {};
  const storage = {};
  for (const [name, value] of Object.entries(parameters)) {
    slots[name] = { name: parameterName(name), slot: parameterSlot(name), value };
    storage[parameterSlot(name)] = toHex(BigInt(value), { size: 32 });
  }
  storage[GENESIS_VALIDATORS_MAX_SLOT] = toHex(BigInt(parameters.validators_max), { size: 32 });
  const accounts = {};
  for (const [name, address] of Object.entries(SYSTEM)) {
    accounts[address] = {
      contract: name,
      nonce: "0x1",
      balance: "0x0",
      runtimeCodeHash: artifacts[name].runtimeCodeHash,
      storage: name === "Parameters" ? storage : {},
    };
  }
  return { accounts, parameters: slots };
}
