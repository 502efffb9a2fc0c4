// A chain for one test file: anvil with the genesis that `artifacts/` describes, driven over JSON-RPC.

import { spawn } from "node:child_process";
import { createHash, createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  concat,
  decodeErrorResult,
  decodeFunctionResult,
  encodeFunctionData,
  getAddress,
  keccak256,
  numberToHex,
  parseEventLogs,
  stringToHex,
  toHex,
} from "viem";
import { ROOT } from "../../scripts/compile.mjs";
import { GENESIS_VALIDATORS_MAX_SLOT } from "../../scripts/genesis.mjs";

const require = createRequire(import.meta.url);

export const CHAIN_ID = 86_372n;
export const VER = 10n ** 18n;
export const ROLE = { VALIDATOR: 1, WORKER: 2, HOST: 4, GATEWAY: 8 };
export const ED25519 = "0x0000000000000000000000000000000000000e25";

/** Gas of one transaction: the cap of EIP-7825. */
const GAS = 2n ** 24n;
/** Time of the genesis block, so that no run depends on the clock. */
export const GENESIS_TIME = 1_800_000_000;

/**
 * Stands for the Ed25519 precompile: returns the word stored at the hash of its input. Storage says which inputs
 * carry a valid signature; `Chain.bind` fills it after OpenSSL has verified the signature.
 */
const ED25519_MOCK = "0x365f5f37365f20545f5260205ff3";

/** The committed artifact of a contract. */
export const artifact = (name) => JSON.parse(readFileSync(join(ROOT, "artifacts", `${name}.json`), "utf8"));

/** A deterministic Ed25519 key. */
export function nodeKey(seed) {
  const secret = createHash("sha256").update(`node ${seed}`).digest();
  const prefix = Buffer.from("302e020100300506032b657004220420", "hex");
  const key = createPrivateKey({ key: Buffer.concat([prefix, secret]), format: "der", type: "pkcs8" });
  return { key, id: `0x${createPublicKey(key).export({ format: "jwk" }).x.replace(/.*/, (x) => Buffer.from(x, "base64url").toString("hex"))}` };
}

/** An address nobody has a key of; anvil sends for anyone. */
export const account = (seed) => getAddress(`0x${keccak256(toHex(`account ${seed}`)).slice(26)}`);

/** What the key of a node signs, made here independently of the contract. */
export const bindingMessage = (operator, chainId = CHAIN_ID) =>
  concat(["0x1c", stringToHex("veracity operator binding v1"), numberToHex(chainId, { size: 32 }), operator]);

/** A call that reverted: its error, decoded. */
export class Reverted extends Error {
  constructor(contract, name, args, data) {
    super(`${contract}: ${name}(${(args ?? []).join(", ")})`);
    Object.assign(this, { errorName: name, args, data });
  }
}

/** The pinned anvil, or on machines for which none is pinned the one on the path. */
function anvil() {
  try {
    return join(require.resolve("@foundry-rs/anvil-linux-amd64/package.json"), "..", "bin", "anvil");
  } catch (error) {
    if (error.code !== "MODULE_NOT_FOUND") throw error;
    return "anvil";
  }
}

// A test run that is stopped takes its chains with it.
const running = new Set();
process.once("exit", () => running.forEach((child) => child.kill("SIGKILL")));
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export class Chain {
  /** Errors that were seen, by contract, so that a test can ask for all of them. */
  errors = new Map();
  /** Gas of transactions that a test wants in the table. */
  gas = new Map();

  /** Starts anvil with the system contracts at their addresses. `alloc` adds or replaces accounts. */
  static async start({ alloc = {}, parameters = {}, args = [], system = true } = {}) {
    const chain = new Chain();
    chain.folder = mkdtempSync(join(tmpdir(), "veracity-contracts-"));
    const genesis = chain.#genesis({ alloc, parameters, system });
    writeFileSync(join(chain.folder, "genesis.json"), JSON.stringify(genesis));
    const port = await freePort();
    chain.process = spawn(
      anvil(),
      [...(system ? ["--init", join(chain.folder, "genesis.json")] : []), ...(args.includes("--chain-id") ? [] : ["--chain-id", CHAIN_ID]),
        "--port", port, "--hardfork", "osaka", "--timestamp", GENESIS_TIME, "--no-mining", "--auto-impersonate", "--gas-limit", 10n ** 9n,
        "--base-fee", 0, "--cache-path", join(chain.folder, "states"), "--silent", "--enable-tx-gas-limit", ...args].map(String),
      { stdio: ["ignore", "ignore", "inherit"] },
    );
    chain.exited = new Promise((resolve, reject) => {
      chain.process.once("exit", resolve);
      chain.process.once("error", (error) => reject(new Error(`anvil does not start: ${error.message}; run npm ci, or install anvil 1.7`)));
    });
    chain.exited.catch(() => {});
    running.add(chain.process);
    chain.url = `http://127.0.0.1:${port}`;
    await chain.#ready();
    return chain;
  }

  async stop() {
    this.process.kill("SIGKILL");
    await this.exited;
    running.delete(this.process);
    rmSync(this.folder, { recursive: true, force: true });
  }

  #genesis({ alloc, parameters, system }) {
    const accounts = {};
    if (system) {
      const { accounts: system, parameters: slots } = artifact("genesis-storage");
      for (const [address, { contract, nonce, balance, storage }] of Object.entries(system)) {
        accounts[address] = { nonce, balance, code: artifact(contract).runtimeCode, storage: { ...storage } };
      }
      const { storage } = accounts[artifact("Parameters").address];
      for (const [name, value] of Object.entries(parameters)) {
        storage[slots[name].slot] = toHex(BigInt(value), { size: 32 });
        if (name === "validators_max") storage[GENESIS_VALIDATORS_MAX_SLOT] = storage[slots[name].slot];
      }
      accounts[ED25519] = { balance: "0x0", code: ED25519_MOCK };
    }
    return {
      config: { chainId: Number(CHAIN_ID) },
      difficulty: "0x0",
      gasLimit: "0x3b9aca00",
      timestamp: numberToHex(GENESIS_TIME),
      alloc: { ...accounts, ...alloc },
    };
  }

  async #ready() {
    for (let attempt = 0; attempt < 400; attempt++) {
      try {
        if (await this.rpc("eth_chainId")) return;
      } catch (error) {
        if (this.process.pid === undefined) await this.exited;
        if (this.process.exitCode !== null) throw new Error(`anvil ended with ${this.process.exitCode}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error("anvil does not answer");
  }

  #id = 0;
  /** One JSON-RPC request; throws the error that the node returns, with its data. */
  async rpc(method, params = []) {
    const body = JSON.stringify({ jsonrpc: "2.0", id: ++this.#id, method, params });
    const response = await fetch(this.url, { method: "POST", headers: { "content-type": "application/json" }, body });
    const { result, error } = await response.json();
    if (error) throw Object.assign(new Error(`${method}: ${error.message}`), { code: error.code, data: error.data });
    return result;
  }

  /** Binds an artifact to its address. */
  contract(name, { abi, address } = artifact(name)) {
    this.errors.set(name, new Set());
    return new Contract(this, name, abi, address);
  }

  /** Sends a transaction in a block of its own, one second after the last one, and returns its receipt. */
  async transact(transaction) {
    const hash = await this.rpc("eth_sendTransaction", [{ gas: toHex(GAS), gasPrice: "0x0", ...transaction }]);
    await this.warp(1);
    const receipt = await this.rpc("eth_getTransactionReceipt", [hash]);
    if (!receipt) throw new Error(`${hash} was not mined`);
    return receipt;
  }

  async balance(address) {
    return BigInt(await this.rpc("eth_getBalance", [address, "latest"]));
  }

  async fund(address, wei = 10n ** 9n * VER) {
    await this.rpc("anvil_setBalance", [address, toHex(wei)]);
  }

  async storage(address, slot) {
    return this.rpc("eth_getStorageAt", [address, typeof slot === "bigint" ? toHex(slot, { size: 32 }) : slot, "latest"]);
  }

  async setStorage(address, slot, value) {
    await this.rpc("anvil_setStorageAt", [address, toHex(BigInt(slot), { size: 32 }), toHex(BigInt(value), { size: 32 })]);
  }

  async block() {
    const { number, timestamp } = await this.rpc("eth_getBlockByNumber", ["latest", false]);
    return { number: Number(number), time: Number(timestamp) };
  }

  /** Makes an empty block at the given second, which is then the time that calls see. */
  async warpTo(time) {
    await this.rpc("evm_mine", [numberToHex(time)]);
  }

  async warp(seconds) {
    await this.warpTo((await this.block()).time + seconds);
  }

  /** Makes empty blocks, one second apart. */
  async mine(blocks) {
    await this.rpc("anvil_mine", [toHex(blocks), "0x1"]);
  }

  snapshot() {
    return this.rpc("evm_snapshot");
  }

  async revert(snapshot) {
    await this.rpc("evm_revert", [snapshot]);
  }

  /** Signs the binding of a node to an operator and tells the precompile that the signature is good. */
  async bind(node, operator, message = bindingMessage(operator)) {
    const bytes = Buffer.from(message.slice(2), "hex");
    const signature = sign(null, bytes, node.key);
    if (verify(null, bytes, createPublicKey(node.key), signature)) {
      const input = concat([node.id, toHex(signature), message]);
      await this.setStorage(ED25519, keccak256(input), 1n);
    }
    return toHex(signature);
  }
}

class Contract {
  constructor(chain, name, abi, address) {
    Object.assign(this, { chain, name, abi, address });
  }

  #reverted(data) {
    if (!data || data === "0x") return new Reverted(this.name, "(no data)", [], data);
    const { errorName, args } = decodeErrorResult({ abi: [...this.abi, ...PARAMETERS_ERRORS], data });
    this.chain.errors.get(this.name)?.add(errorName);
    return new Reverted(this.name, errorName, args, data);
  }

  async #call(transaction) {
    try {
      return await this.chain.rpc("eth_call", [{ gas: toHex(GAS), ...transaction }, "latest"]);
    } catch (error) {
      if (error.data === undefined && error.code !== 3) throw error;
      throw this.#reverted(error.data);
    }
  }

  /** Calls without a transaction and returns what the function returns. */
  async read(functionName, args = [], { from, value = 0n } = {}) {
    const data = encodeFunctionData({ abi: this.abi, functionName, args });
    const result = await this.#call({ to: this.address, data, from, value: toHex(value) });
    return decodeFunctionResult({ abi: this.abi, functionName, args, data: result });
  }

  /** Sends a transaction; throws `Reverted` if it fails. Returns the receipt with events decoded. */
  async send(from, functionName, args = [], { value = 0n, gas, rehearse = true } = {}) {
    const data = encodeFunctionData({ abi: this.abi, functionName, args });
    const transaction = { from, to: this.address, data, value: toHex(value) };
    if (rehearse) await this.#call(transaction);
    const receipt = await this.chain.transact(transaction);
    if (receipt.status !== "0x1") throw new Error(`${this.name}.${functionName}: the transaction failed`);
    if (gas) this.chain.gas.set(`${this.name}.${gas}`, Number(receipt.gasUsed));
    return { ...receipt, events: parseEventLogs({ abi: this.abi, logs: receipt.logs }) };
  }
}

/** Errors of Parameters that reach callers of other contracts. */
const PARAMETERS_ERRORS = artifact("Parameters").abi.filter(({ type, name }) => type === "error" && name === "UnknownParameter");
