// `npm run build` writes `artifacts/`; `npm run check` compiles again and fails if a committed file differs.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, compile } from "./compile.mjs";
import { genesisParameters, genesisStorage } from "./genesis.mjs";

const check = process.argv.includes("--check");
const artifacts = compile();
const files = Object.fromEntries(Object.entries(artifacts).map(([name, artifact]) => [`${name}.json`, artifact]));
files["genesis-storage.json"] = genesisStorage(artifacts, genesisParameters());

const folder = join(ROOT, "artifacts");
mkdirSync(folder, { recursive: true });
const stale = [];
for (const [name, content] of Object.entries(files)) {
  const path = join(folder, name);
  const text = `${JSON.stringify(content, null, 2)}\n`;
  if (!check) writeFileSync(path, text);
  else if (read(path) !== text) stale.push(`artifacts/${name}`);
}
if (stale.length > 0) {
  console.error(`differs from what the sources give: ${stale.join(", ")}\nrun: npm run build`);
  process.exit(1);
}
for (const { name, runtimeCode, runtimeCodeHash } of Object.values(artifacts)) {
  console.log(`${name.padEnd(11)} ${String(runtimeCode.length / 2 - 1).padStart(6)} bytes  ${runtimeCodeHash}`);
}
console.log(check ? "artifacts are what the sources give" : `written to ${folder}`);

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return null;
    throw error;
  }
}
