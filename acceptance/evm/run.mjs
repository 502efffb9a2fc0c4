// Runs Ethereum's clients against a node, and compares the node with anvil.
//
//   npm ci && node run.mjs [CLIENT...]
//
// The node is at RPC_URL and WS_URL, and the account of PRIVATE_KEY has funds there: at least 1000 ether. Without RPC_URL
// the node is an anvil that this program starts. PYTHON has the packages of requirements.txt. Each check prints a line; the
// last line is `N passed, M failed`, and the exit status is 1 if any failed.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { concat, createPublicClient, createWalletClient, http, keccak256, parseEther, stringToHex } from 'viem'
import { mnemonicToAccount, privateKeyToAccount } from 'viem/accounts'
import { toHex } from 'viem'
import { startAnvil } from './lib/anvil.mjs'
import { start } from './lib/foundry.mjs'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const DEV_MNEMONIC = 'test test test test test test test test test test test junk'
const FUNDS = parseEther('100')
const python = process.env.PYTHON ?? `${HERE}.venv/bin/python`
const CLIENTS = {
  viem: [process.execPath, 'clients/viem.mjs'],
  ethers: [process.execPath, 'clients/ethers.mjs'],
  'web3.py': [python, 'clients/web3_py.py'],
  cast: [process.execPath, 'clients/cast.mjs'],
  forge: [process.execPath, 'clients/forge.mjs'],
  differential: [process.execPath, 'clients/differential.mjs'],
}

/** The node under test, which is anvil if none is named. */
async function node() {
  const dev = toHex(mnemonicToAccount(DEV_MNEMONIC).getHdKey().privateKey)
  const { RPC_URL: url, PRIVATE_KEY: key = dev } = process.env
  if (!url) return { ...(await startAnvil({ chainId: 73_571, gasLimit: 30_000_000 })), key }
  return { url, ws: process.env.WS_URL ?? url.replace(/^http/, 'ws'), key, stop: () => {} }
}

/** A new account for each client, with funds, so that no client uses up another's nonces. */
async function accounts({ url, key }, names) {
  const client = createPublicClient({ transport: http(url), pollingInterval: 50 })
  const funder = createWalletClient({ account: privateKeyToAccount(key), transport: http(url) })
  const { hash: head } = await client.getBlock()
  const keys = Object.fromEntries(names.map((name) => [name, keccak256(concat([key, head, stringToHex(name)]))]))
  for (const name of names) {
    const hash = await funder.sendTransaction({ chain: null, to: privateKeyToAccount(keys[name]).address, value: FUNDS })
    await client.waitForTransactionReceipt({ hash })
  }
  return keys
}

/** Runs one client and shows what it prints; returns how many checks passed and failed. */
async function runClient(name, { url, ws }, key) {
  const [program, ...args] = CLIENTS[name]
  const env = { ...process.env, RPC_URL: url, WS_URL: ws, PRIVATE_KEY: key, PYTHONUNBUFFERED: '1' }
  const child = spawn(program, args, { cwd: HERE, env, stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise((resolve) => {
    child.once('close', (status) => resolve(status === 0 ? undefined : `ended with status ${status}`))
    child.once('error', ({ message }) => resolve(`does not start: ${message}${program === python ? '; set PYTHON' : ''}`))
  })
  let [passed, failed] = [0, 0]
  for await (const line of createInterface({ input: child.stdout })) {
    passed += line.startsWith('ok ')
    failed += line.startsWith('FAIL ')
    console.log(line)
  }
  const trouble = await ended
  if (trouble && failed === 0) {
    console.log(`FAIL ${name}: ${trouble}`)
    failed += 1
  }
  return { passed, failed }
}

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(CLIENTS)
const unknown = names.filter((name) => !(name in CLIENTS))
if (unknown.length) throw new Error(`no client is called ${unknown}; there are: ${Object.keys(CLIENTS).join(', ')}`)
await start('forge', ['build', '--quiet'])
const target = await node()
const keys = await accounts(target, names)
const total = { passed: 0, failed: 0 }
for (const name of names) {
  const { passed, failed } = await runClient(name, target, keys[name])
  total.passed += passed
  total.failed += failed
}
target.stop()
console.log(`${total.passed} passed, ${total.failed} failed`)
process.exit(total.failed ? 1 : 0)
