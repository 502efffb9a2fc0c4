import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { keccak256 } from "viem";
import { ROOT, SOLC, SYSTEM } from "../scripts/compile.mjs";
import { artifact } from "./support/chain.mjs";

test("the committed artifacts are what the sources give", () => {
  execFileSync(process.execPath, [join(ROOT, "scripts", "build.mjs"), "--check"], { stdio: ["ignore", "ignore", "inherit"] });
});

test("artifacts are complete, within the size limit, and hold no metadata", () => {
  for (const [name, address] of Object.entries(SYSTEM)) {
    const { initCode, runtimeCode, runtimeCodeHash, ...rest } = artifact(name);
    assert.deepEqual([rest.name, rest.address, rest.compiler], [name, address, SOLC]);
    assert.equal(keccak256(runtimeCode), runtimeCodeHash);
    const bytes = runtimeCode.length / 2 - 1;
    assert.ok(bytes > 0 && bytes <= 24_576, `${name}: ${bytes}`); // EIP-170
    assert.ok(initCode.includes(runtimeCode.slice(2)), `${name}: the init code does more than return the code`);
    assert.ok(!runtimeCode.includes("64736f6c6343"), `${name}: compiler metadata`);
    assert.ok(!rest.abi.some(({ type }) => ["constructor", "receive", "fallback"].includes(type)), `${name}: constructor or fallback`);
  }
});

test("storage layouts are those of the specification", () => {
  const variables = Object.fromEntries(Object.keys(SYSTEM).map((name) => [name,
    artifact(name).storageLayout.variables.map(({ name: variable, slot }) => `${slot} ${variable}`)]));
  assert.deepEqual(variables, {
    Stake: ["0 nodes", "1 candidates", "2 nodeIds"],
    Parameters: ["0 values", "1 proposals", "2 proposalCount", "3 approvals", "4 genesisValidatorsMax"],
    Models: ["0 models", "1 names", "2 modelIds", "3 hostLists", "4 hostPlaces"],
    Receipts: ["0 batches"],
    Randomness: ["0 values", "8192 heights"],
  });
});

test("nothing in the package names a registry, and versions are pinned", () => {
  const lock = readFileSync(join(ROOT, "package-lock.json"), "utf8");
  assert.ok(!lock.includes('"resolved"'), "package-lock.json has resolved addresses: npm config set omit-lockfile-registry-resolved true");
  const { devDependencies, optionalDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  for (const [name, version] of Object.entries({ ...devDependencies, ...optionalDependencies })) assert.match(version, /^\d+\.\d+\.\d+$/, name);
});

test("the specification names every function, event and error", () => {
  const specification = readFileSync(join(ROOT, "..", "docs", "spec", "contracts.md"), "utf8");
  const missing = [];
  for (const contract of Object.keys(SYSTEM)) {
    for (const { type, name } of artifact(contract).abi) if (!specification.includes(`\`${name}`)) missing.push(`${contract}: ${type} ${name}`);
  }
  assert.deepEqual(missing, []);
  assert.match(specification, /^[\x00-\x7f]*$/, "ASCII only");
});
