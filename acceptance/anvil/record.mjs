// Runs the transactions on anvil and writes what it makes of them to crates/chain/testdata/anvil.zip.
//
//   npm ci && npm run record
//
// Offline apart from `npm ci`: anvil listens on loopback and asks nobody.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { keccak256, numberToHex } from 'viem'

import { zip } from './zip.mjs'
import { ACCOUNTS, CHAIN_ID, GAS_LIMIT, HISTORY, transactions } from './transactions.mjs'

const BASE_FEE = 10 ** 9
const PORT = 18_547
const BLOCK_SECONDS = 12
const COINBASE = `0x${'be'.repeat(20)}`
/** EIP-2935. */
const HISTORY_CODE = '0x3373fffffffffffffffffffffffffffffffffffffffe14604657602036036042575f35600143038111604257611fff'
  + '81430311604257611fff9006545f5260205ff35b5f5ffd5b5f35611fff60014303065500'
const OUT = fileURLToPath(new URL('../../crates/chain/testdata/anvil.zip', import.meta.url))

const alloc = Object.fromEntries([
  ...ACCOUNTS.map(({ address }) => [address.toLowerCase(), { balance: numberToHex(10_000n * 10n ** 18n) }]),
  [HISTORY.toLowerCase(), { balance: '0x0', nonce: '0x1', code: HISTORY_CODE }],
])

function start(folder) {
  const zero = numberToHex(0, { size: 32 })
  const genesis = {
    config: { chainId: CHAIN_ID }, nonce: '0x0', timestamp: '0x0', extraData: '0x', gasLimit: numberToHex(GAS_LIMIT),
    difficulty: '0x0', mixHash: zero, coinbase: numberToHex(0, { size: 20 }), baseFeePerGas: numberToHex(BASE_FEE), alloc,
  }
  writeFileSync(join(folder, 'genesis.json'), JSON.stringify(genesis))
  const flags = ['--init', join(folder, 'genesis.json'), '--hardfork', 'osaka', '--chain-id', `${CHAIN_ID}`, '--accounts', '0',
    '--no-mining', '--order', 'fifo', '--gas-limit', `${GAS_LIMIT}`, '--base-fee', `${BASE_FEE}`,
    '--disable-default-create2-deployer', '--disable-min-priority-fee', '--timestamp', '0',
    '--host', '127.0.0.1', '--port', `${PORT}`, '--threads', '1', '--quiet']
  const binary = createRequire(import.meta.url).resolve('@foundry-rs/anvil-linux-amd64/bin/anvil')
  return spawn(binary, flags, { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, HOME: folder } })
}

async function rpc(method, ...params) {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
  const response = await fetch(`http://127.0.0.1:${PORT}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  const { result, error } = await response.json()
  if (error) throw new Error(`${method}: ${error.message}`)
  return result
}

async function ready() {
  for (let i = 0; i < 100; i += 1) {
    const version = await rpc('web3_clientVersion').catch(() => undefined)
    if (version) return version
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('anvil does not answer')
}

const header = ({ hash, parentHash, timestamp, mixHash, gasUsed, baseFeePerGas, stateRoot, transactionsRoot, receiptsRoot, logsBloom }) =>
  ({ hash, parentHash, timestamp, mixHash, gasUsed, baseFeePerGas, stateRoot, transactionsRoot, receiptsRoot, logsBloom })

const receipt = ({ status, gasUsed, contractAddress, logs }) => ({
  status: Number(status),
  gasUsed: Number(gasUsed),
  ...(contractAddress ? { contractAddress } : {}),
  ...(logs.length ? { logs: logs.map(({ address, topics, data }) => ({ address, topics, data })) } : {}),
})

async function mine(number, raws) {
  const hashes = []
  for (const raw of raws) hashes.push(await rpc('eth_sendRawTransaction', raw))
  await rpc('evm_setNextBlockTimestamp', number * BLOCK_SECONDS)
  await rpc('evm_mine')
  const block = await rpc('eth_getBlockByNumber', 'latest', false)
  if (Number(block.number) !== number || block.transactions.join() !== hashes.join()) {
    const lost = raws.flatMap((raw, i) => (block.transactions.includes(hashes[i]) ? [] : [`${i}: ${raw.slice(0, 300)}`]))
    throw new Error(`${lost.join("\n")}\nblock ${Number(block.number)} has ${block.transactions.length} transactions of ${hashes.length}`)
  }
  const receipts = await rpc('eth_getBlockReceipts', 'latest')
  return { ...header(block), transactions: raws, receipts: receipts.map(receipt) }
}

async function dump() {
  const bytes = Buffer.from((await rpc('anvil_dumpState')).slice(2), 'hex')
  return Object.entries(JSON.parse(gunzipSync(bytes)).accounts)
}

const isEmpty = ([, { nonce, balance, code }]) => Number(nonce) === 0 && BigInt(balance) === 0n && code === '0x'

/** Every account that is not empty. */
async function accounts() {
  const short = ([slot, value]) => [numberToHex(BigInt(slot)), numberToHex(BigInt(value))]
  const account = ([address, { nonce, balance, code, storage }]) => [address, {
    nonce: Number(nonce), balance: numberToHex(BigInt(balance)), codeHash: keccak256(code),
    storage: Object.fromEntries(Object.entries(storage).map(short).filter(([, value]) => value !== '0x0')),
  }]
  return Object.fromEntries((await dump()).filter((one) => !isEmpty(one)).map(account))
}

/** What is other than before: accounts, null for those that are gone, each with the slots that changed. */
function changes(before, now) {
  const changed = {}
  for (const [address, account] of Object.entries(now)) {
    const old = before[address]?.storage ?? {}
    if (JSON.stringify(before[address]) === JSON.stringify(account)) continue
    const slots = Object.entries(account.storage).filter(([slot, value]) => old[slot] !== value)
    const cleared = Object.keys(old).filter((slot) => !(slot in account.storage)).map((slot) => [slot, '0x0'])
    changed[address] = { ...account, storage: Object.fromEntries([...slots, ...cleared]) }
  }
  for (const address of Object.keys(before)) if (!(address in now)) changed[address] = null
  return changed
}

/** Either the pool refuses the transaction, or no block contains it. */
async function refuse(one) {
  const hash = await rpc('eth_sendRawTransaction', one.raw).catch((error) => { one.error = error.message })
  if (!hash) return
  await rpc('evm_mine')
  const { transactions: mined } = await rpc('eth_getBlockByNumber', 'latest', false)
  if (mined.length > 0) throw new Error(`anvil mines: ${one.why}`)
  one.error = 'not mined'
  await rpc('anvil_dropAllTransactions')
}

async function record() {
  const version = await ready()
  await rpc('anvil_setCoinbase', COINBASE)
  const { blocks, refused } = await transactions()
  const recorded = []
  let before = {}
  for (const [i, raws] of blocks.entries()) {
    const block = await mine(i + 1, raws)
    const now = await accounts()
    recorded.push({ ...block, accounts: changes(before, now) })
    before = now
  }
  for (const one of refused) await refuse(one)
  const origin = `${version}, hardfork osaka; recorded by \`npm ci && npm run record\` in acceptance/anvil`
  return { origin, chainId: CHAIN_ID, gasLimit: GAS_LIMIT, beneficiary: COINBASE, alloc, blocks: recorded, refused, accounts: before }
}

/** One block, refusal or account per line, so that differences read well. */
function write({ blocks, refused, accounts: final, ...rest }) {
  const list = (values) => `[\n${values.map((value) => JSON.stringify(value)).join(',\n')}\n]`
  const map = Object.entries(final).map(([address, value]) => `${JSON.stringify(address)}:${JSON.stringify(value)}`)
  const first = JSON.stringify(rest).slice(0, -1)
  const text = `${first},\n"blocks":${list(blocks)},\n"refused":${list(refused)},\n"accounts":{\n${map.join(',\n')}\n}}\n`
  writeFileSync(OUT, zip('anvil.json', Buffer.from(text)))
  const count = (pick) => blocks.reduce((sum, block) => sum + pick(block), 0)
  console.log(`${blocks.length} blocks, ${count((b) => b.transactions.length)} transactions, of which `
    + `${count((b) => b.receipts.filter((r) => r.status === 1).length)} succeed; ${map.length} accounts -> ${OUT}`)
}

const folder = mkdtempSync(join(tmpdir(), 'anvil-'))
const anvil = start(folder)
try {
  write(await record())
} finally {
  anvil.kill()
  rmSync(folder, { recursive: true, force: true })
}
