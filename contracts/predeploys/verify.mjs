// Makes the code of the predeploys from sources in npm packages, proves by their addresses that it is the code that
// everybody expects there, and compares it with `artifacts/predeploys.json`. With `--write`, writes that file.
//
// Packages are fetched with `npm pack`, without their dependencies, and pinned by the hashes in `sources.json`.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, posix } from "node:path";
import { keccak256, toHex } from "viem";
import { ROOT } from "../scripts/compile.mjs";
import { Chain } from "../test/support/chain.mjs";
import { create2Address, permit2Domain, presignedAddress, splitImmutables } from "./derive.mjs";

const require = createRequire(import.meta.url);
const PINS = JSON.parse(readFileSync(new URL("sources.json", import.meta.url), "utf8"));
const CACHE = join(ROOT, "node_modules", ".cache", "predeploys");
const TARGET = join(ROOT, "artifacts", "predeploys.json");

const CREATE2_DEPLOYER = "0x4e59b44847b379578588920cA78FbF26c0B4956C";
const MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11";
const PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3";

// Facts of the deployments on Ethereum; each is proven by the address that follows from it.
const REPEATED = `0x${"22".repeat(32)}`;
const CREATE2_DEPLOYER_TRANSACTION = { gasPrice: "100000000000", gas: "100000", v: "27", r: REPEATED, s: REPEATED };
const MULTICALL3_TRANSACTION = {
  gasPrice: "100000000000",
  gas: "1000000",
  v: "28",
  r: "0xedce47092c0f398cebf3ffc267f05c8e7076e3b89445e0fe50f6332273d4569b",
  s: "0x1b0b9d000e19b24c5869b0fc3b22b0d6fa47cd63316875cbbd577d76e6fde086",
};
const PERMIT2_SALT = "0x0000000000000000000000000000000000000000d3af2663da51c10215000000";

/** Copies the rest of the init code, from byte 14 on, to memory and returns it: 69 bytes. */
const CREATE2_DEPLOYER_PREFIX = "0x604580600e600039806000f350fe";

function step(what, holds) {
  if (!holds) throw new Error(`FAIL ${what}`);
  console.log(`ok   ${what}`);
}

/** Fetches a pinned package and returns the folder of its files. */
function unpacked(pin) {
  const { package: name, version, integrity } = PINS[pin];
  const folder = join(CACHE, `${name.replaceAll(/[@/]/g, "_")}-${version}`);
  mkdirSync(folder, { recursive: true });
  let archive = readdirSync(folder).find((file) => file.endsWith(".tgz"));
  if (!archive) {
    execFileSync("npm", ["pack", `${name}@${version}`, "--silent", "--pack-destination", folder], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
    archive = readdirSync(folder).find((file) => file.endsWith(".tgz"));
  }
  const found = `sha512-${createHash("sha512").update(readFileSync(join(folder, archive))).digest("base64")}`;
  // Half an archive of a run that was cut off must not stay.
  if (found !== integrity) rmSync(folder, { recursive: true });
  step(`${name}@${version} has the pinned hash`, found === integrity);
  // What was unpacked before may have been changed; the archive was not.
  rmSync(join(folder, "package"), { recursive: true, force: true });
  execFileSync("tar", ["xzf", archive], { cwd: folder });
  return join(folder, "package");
}

/** Compiles one contract with a compiler of another version. */
function compileWith(pin, sources, path, name, settings) {
  const solc = require("solc/wrapper")(require(join(unpacked(pin), "soljson.js")));
  step(`the compiler says that it is ${PINS[pin].version}`, solc.version().startsWith(`${PINS[pin].version}+`));
  const outputSelection = { "*": { "*": ["evm.bytecode.object", "evm.deployedBytecode"] } };
  const input = { language: "Solidity", sources, settings: { ...settings, outputSelection } };
  const { contracts, errors = [] } = JSON.parse(solc.compile(JSON.stringify(input)));
  const faults = errors.filter(({ severity }) => severity === "error").map(({ formattedMessage }) => formattedMessage);
  if (faults.length > 0) throw new Error(faults.join("\n"));
  return contracts[path][name].evm;
}

/** Starts anvil without our genesis. */
const plain = (...args) => Chain.start({ system: false, args });

/** Sends a presigned deployment on an empty chain and returns the code that it leaves. */
async function replay({ deployer, address, raw }) {
  const chain = await plain("--disable-default-create2-deployer");
  try {
    await chain.fund(deployer, 10n ** 18n);
    const hash = await chain.rpc("eth_sendRawTransaction", [raw]);
    await chain.warp(1);
    const receipt = await chain.rpc("eth_getTransactionReceipt", [hash]);
    step(`the presigned transaction of ${deployer} succeeds (${Number(receipt.gasUsed)} gas)`, receipt.status === "0x1");
    return await chain.rpc("eth_getCode", [address, "latest"]);
  } finally {
    await chain.stop();
  }
}

async function create2Deployer() {
  console.log("\nCREATE2 deployer: the code that anvil puts there");
  const chain = await plain();
  const runtimeCode = await chain.rpc("eth_getCode", [CREATE2_DEPLOYER, "latest"]);
  await chain.stop();
  const initCode = CREATE2_DEPLOYER_PREFIX + runtimeCode.slice(2);
  const presigned = await presignedAddress(initCode, CREATE2_DEPLOYER_TRANSACTION);
  step(`the presigned transaction deploys to ${CREATE2_DEPLOYER}`, presigned.address === CREATE2_DEPLOYER);
  step("a replay leaves this code", (await replay(presigned)) === runtimeCode);
  return {
    address: CREATE2_DEPLOYER,
    genesis: "put runtimeCode at address, with nonce 1",
    origin: `${versionOf("@foundry-rs/anvil-linux-amd64")}, which has it at this address; proven by the presigned transaction`,
    licence: "69 bytes of hand-written code; taken from Foundry, which is MIT OR Apache-2.0",
    presigned: CREATE2_DEPLOYER_TRANSACTION,
    initCode,
    runtimeCode,
    runtimeCodeHash: keccak256(runtimeCode),
  };
}

const versionOf = (name) => `${name} ${JSON.parse(readFileSync(join(ROOT, "node_modules", name, "package.json"), "utf8")).version}`;

async function multicall3() {
  console.log("\nMulticall3: compiled from source");
  const folder = unpacked("multicall3Source");
  const file = "src/v0.8/vendor/multicall/ebd8b64/src/Multicall3.sol";
  // The package has loosened the pragma; the code holds a hash of the source, so the original line is put back.
  const original = readFileSync(join(folder, file), "utf8").replace("pragma solidity ^0.8.12;", "pragma solidity 0.8.12;");
  step("the file states the licence MIT", original.startsWith("// SPDX-License-Identifier: MIT\n"));
  const { bytecode } = compileWith("multicall3Compiler", { "Multicall3.sol": { content: original } }, "Multicall3.sol", "Multicall3", {
    optimizer: { enabled: true, runs: 10_000_000 },
    evmVersion: "london",
  });
  const initCode = `0x${bytecode.object}`;
  const presigned = await presignedAddress(initCode, MULTICALL3_TRANSACTION);
  step(`the presigned transaction deploys to ${MULTICALL3}`, presigned.address === MULTICALL3);
  const runtimeCode = await replay(presigned);
  return {
    address: MULTICALL3,
    genesis: "put runtimeCode at address, with nonce 1",
    origin: `${pinned("multicall3Source")}, ${file}, with its pragma set back to 0.8.12; ${pinned("multicall3Compiler")}; proven by the presigned transaction`,
    licence: "MIT (stated in the file; the package around it is BUSL-1.1 and not part of this tree)",
    presigned: MULTICALL3_TRANSACTION,
    initCode,
    runtimeCode,
    runtimeCodeHash: keccak256(runtimeCode),
  };
}

const pinned = (pin) => `${PINS[pin].package} ${PINS[pin].version}`;

async function permit2() {
  console.log("\nPermit2: compiled from source");
  const folder = join(unpacked("permit2Source"), "lib", "permit2");
  const sources = {};
  const add = (path) => {
    if (sources[path]) return;
    const content = readFileSync(join(folder, path), "utf8");
    sources[path] = { content };
    for (const [, from] of content.matchAll(/from\s+"([^"]+)"/g)) {
      add(from.startsWith("solmate/") ? `lib/${from}` : posix.join(posix.dirname(path), from));
    }
  };
  add("src/Permit2.sol");
  const { bytecode, deployedBytecode } = compileWith("permit2Compiler", sources, "src/Permit2.sol", "Permit2", {
    remappings: ["solmate/=lib/solmate/"],
    optimizer: { enabled: true, runs: 1_000_000 },
    metadata: { bytecodeHash: "none" },
    viaIR: true,
    evmVersion: "london",
  });
  const initCode = `0x${bytecode.object}`;
  step(`the CREATE2 deployer puts it at ${PERMIT2}`, create2Address(CREATE2_DEPLOYER, PERMIT2_SALT, initCode) === PERMIT2);

  const template = `0x${deployedBytecode.object}`;
  const offsets = Object.values(deployedBytecode.immutableReferences).flat().map(({ start }) => start).sort((a, b) => a - b);
  step("it has two immutables, one place each", offsets.length === 2);
  let immutables;
  for (const chainId of [31_337n, 86_372n]) {
    const chain = await plain("--chain-id", chainId);
    await chain.transact({ from: "0x00000000000000000000000000000000000000aa", to: CREATE2_DEPLOYER, data: PERMIT2_SALT + initCode.slice(2) });
    const code = await chain.rpc("eth_getCode", [PERMIT2, "latest"]);
    await chain.stop();
    const { words, templateHash } = splitImmutables(code, offsets.map((offset) => ({ offset, value: offset })));
    const values = { [permit2Domain(PERMIT2, chainId)]: "domainSeparator", [toHex(chainId, { size: 32 })]: "chainId" };
    immutables = offsets.map((offset) => ({ offset, value: values[words[offset]] }));
    step(`chain ${chainId}: the immutables are the chain id and the domain separator`, immutables.every(({ value }) => value));
    step(`chain ${chainId}: apart from them the deployed code is the compiled one`, templateHash === keccak256(template));
  }
  return {
    address: PERMIT2,
    genesis: "call deployer with the input salt ++ initCode while the genesis state is built, after deployer has its code",
    origin: `${pinned("permit2Source")}, lib/permit2; ${pinned("permit2Compiler")}; proven by the CREATE2 address`,
    licence: "MIT (Uniswap Labs); its compiled code contains SafeTransferLib of solmate, AGPL-3.0-only; no source of either is part of this tree",
    deployer: CREATE2_DEPLOYER,
    salt: PERMIT2_SALT,
    initCode,
    initCodeHash: keccak256(initCode),
    immutables,
    runtimeTemplateHash: keccak256(template),
  };
}

const text = `${JSON.stringify({ create2Deployer: await create2Deployer(), multicall3: await multicall3(), permit2: await permit2() }, null, 2)}\n`;
console.log();
if (process.argv.includes("--write")) {
  writeFileSync(TARGET, text);
  console.log(`written to ${TARGET}`);
} else {
  step("artifacts/predeploys.json is what the sources give", readFileSync(TARGET, "utf8") === text);
}
