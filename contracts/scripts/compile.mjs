// Compiles `src/` with fixed settings. Everything that decides a byte of the output is in this file or in the sources.

import { createRequire } from "node:module";
import { readFileSync, readdirSync } from "node:fs";
import { join, posix, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { keccak256, toHex } from "viem";

const require = createRequire(import.meta.url);

/** Folder of this package. */
export const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** System contracts and their addresses. */
export const SYSTEM = {
  Stake: "0x0000000000000000000000000000000000005e01",
  Parameters: "0x0000000000000000000000000000000000005e02",
  Models: "0x0000000000000000000000000000000000005e03",
  Receipts: "0x0000000000000000000000000000000000005e04",
  Randomness: "0x0000000000000000000000000000000000005e05",
};

/** Compiler version that the artifacts are made with; `package.json` pins the same. */
export const SOLC = "0.8.37";

/** Settings without what only selects output. No metadata, so that code depends on nothing but code. */
export const SETTINGS = {
  evmVersion: "osaka",
  viaIR: true,
  optimizer: { enabled: true, runs: 10_000 },
  metadata: { appendCBOR: false, bytecodeHash: "none" },
};

function sourcesUnder(folder) {
  const sources = {};
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile() || !entry.name.endsWith(".sol")) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    sources[relative(ROOT, path).split(sep).join("/")] = { content: readFileSync(path, "utf8") };
  }
  return Object.fromEntries(Object.entries(sources).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Hash over paths and texts of a source and all that it imports, in order. */
function hashOf(sources, path) {
  const closure = new Set();
  const add = (file) => {
    if (closure.has(file)) return;
    closure.add(file);
    for (const [, to] of sources[file].content.matchAll(/^import\s[^;]*"(\.[^"]+)";/gm)) add(posix.join(posix.dirname(file), to));
  };
  add(path);
  return keccak256(toHex(JSON.stringify([...closure].sort().map((file) => [file, sources[file].content]))));
}

/** Runs the compiler; throws its messages on any error or warning. */
function run(sources) {
  const solc = require("solc");
  if (!solc.version().startsWith(`${SOLC}+`)) throw new Error(`solc ${SOLC} is needed, found ${solc.version()}: run npm ci`);
  const outputSelection = {
    "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode", "storageLayout", "devdoc", "userdoc"] },
  };
  const input = { language: "Solidity", sources, settings: { ...SETTINGS, outputSelection } };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const messages = (output.errors ?? []).map((message) => message.formattedMessage);
  if (messages.length > 0) throw new Error(messages.join("\n"));
  return output.contracts;
}

/** Storage layout without numbers that change when unrelated sources change. */
function layoutOf({ storage, types }) {
  const label = (type) => types[type].label;
  const fields = (list) => list.map(({ label: name, slot, offset, type }) => ({ name, slot, offset, type: label(type) }));
  const structs = {};
  for (const type of Object.values(types ?? {})) {
    if (type.members) structs[type.label] = { bytes: type.numberOfBytes, members: fields(type.members) };
  }
  return { variables: fields(storage), structs };
}

/** Compiles the contracts under `src/` and returns one artifact for each system contract. */
export function compile() {
  const sources = sourcesUnder(join(ROOT, "src"));
  const contracts = run(sources);
  const artifacts = {};
  for (const [name, address] of Object.entries(SYSTEM)) {
    const { abi, evm, storageLayout, devdoc, userdoc } = contracts[`src/${name}.sol`][name];
    if (Object.keys(evm.deployedBytecode.immutableReferences).length > 0) {
      throw new Error(`${name} has immutables: system contracts have no constructor that could set them`);
    }
    artifacts[name] = {
      name,
      address,
      compiler: SOLC,
      settings: SETTINGS,
      sourceHash: hashOf(sources, `src/${name}.sol`),
      abi,
      initCode: `0x${evm.bytecode.object}`,
      runtimeCode: `0x${evm.deployedBytecode.object}`,
      runtimeCodeHash: keccak256(`0x${evm.deployedBytecode.object}`),
      storageLayout: layoutOf(storageLayout),
    };
    requireDocumented(name, abi, userdoc, devdoc);
  }
  return artifacts;
}

/** Compiles a contract of the tests, which imports nothing. */
export function compileTest(path, name) {
  const { abi, evm } = run(sourcesUnder(join(ROOT, "test")))[path][name];
  return { abi, initCode: `0x${evm.bytecode.object}`, runtimeCode: `0x${evm.deployedBytecode.object}` };
}

const canonical = (type) => (type.components ? `(${type.components.map(canonical).join(",")})${type.type.slice(5)}` : type.type);

/** Everything in an ABI needs a notice, and every parameter of it a description. */
function requireDocumented(contract, abi, userdoc, devdoc) {
  const missing = [];
  for (const item of abi) {
    const signature = `${item.name}(${item.inputs.map(canonical).join(",")})`;
    const kind = { function: "methods", event: "events", error: "errors" }[item.type];
    const notices = [userdoc[kind]?.[signature] ?? []].flat();
    const details = [devdoc[kind]?.[signature] ?? devdoc.stateVariables?.[item.name] ?? {}].flat();
    if (!notices.some((entry) => entry.notice)) missing.push(`${signature}: no @notice`);
    if (devdoc.stateVariables?.[item.name]) continue;
    for (const { name } of item.inputs) {
      if (name && !details.some((entry) => entry.params?.[name])) missing.push(`${signature}: no @param ${name}`);
    }
  }
  if (missing.length > 0) throw new Error(`${contract} is not documented:\n  ${missing.join("\n  ")}`);
}
