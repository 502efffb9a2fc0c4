// What a client is given: the node, an account with funds, and the compiled contracts.

import { readFileSync } from 'node:fs'

const { RPC_URL, WS_URL, PRIVATE_KEY } = process.env
if (!RPC_URL || !WS_URL || !PRIVATE_KEY) throw new Error('set RPC_URL, WS_URL and PRIVATE_KEY, or start run.mjs, which does')

export { PRIVATE_KEY, RPC_URL, WS_URL }

/** `{ abi, bytecode }` of a contract under contracts/src. */
export function artifact(name) {
  const url = new URL(`../contracts/out/${name}.sol/${name}.json`, import.meta.url)
  const { abi, bytecode, deployedBytecode } = JSON.parse(readFileSync(url, 'utf8'))
  return { abi, bytecode: bytecode.object, deployedBytecode: deployedBytecode.object }
}
