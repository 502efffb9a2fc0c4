// The same transactions on the node and on anvil: both must say the same of them.

import assert from 'node:assert/strict'
import { encodeFunctionData, keccak256, numberToHex, parseEther } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { startAnvil } from '../lib/anvil.mjs'
import { run, until } from '../lib/check.mjs'
import { PRIVATE_KEY, RPC_URL, artifact } from '../lib/env.mjs'
import { PREDEPLOYS } from '../lib/predeploys.mjs'
import { post, rpc } from '../lib/rpc.mjs'
import { PRICE, refusals, subjects } from '../lib/transactions.mjs'

const FUNDS = parseEther('4')
/** Transactions of a phase that are sent before the first has to be in a block. */
const IN_FLIGHT = 16
/** Requests in a batch: fewer than nodes allow. */
const BATCH = 50

/** What anvil takes although it never puts it in a block. */
const ANVIL_TAKES = [
  'gas below the floor of calldata',
  'gas below the cost of creation',
  'gas below the cost of an access list',
  'an empty list of authorizations',
]

const account = privateKeyToAccount(PRIVATE_KEY)
const chainId = Number(await rpc(RPC_URL, 'eth_chainId'))
const isAnvil = /anvil/i.test(await rpc(RPC_URL, 'web3_clientVersion'))
const { gasLimit } = await rpc(RPC_URL, 'eth_getBlockByNumber', 'latest', false)
const anvil = await startAnvil({ chainId, gasLimit: BigInt(gasLimit) })
await rpc(anvil.url, 'anvil_setBalance', account.address, await rpc(RPC_URL, 'eth_getBalance', account.address, 'latest'))
const sides = [RPC_URL, anvil.url]
const both = (act) => Promise.all(sides.map(act))

/** The results of many requests, in batches; undefined for those that fail. */
async function batch(url, method, list) {
  const results = []
  for (let i = 0; i < list.length; i += BATCH) {
    const answers = await post(
      url,
      list.slice(i, i + BATCH).map((params, id) => ({ jsonrpc: '2.0', id, method, params })),
    )
    assert.ok(Array.isArray(answers), `a batch of ${BATCH} is refused: ${JSON.stringify(answers)}`)
    for (const { id, result } of answers) results[i + id] = result
  }
  return results
}

async function submit(url, raws) {
  const hashes = []
  for (const raw of raws) hashes.push([await rpc(url, 'eth_sendRawTransaction', raw)])
  return until(async () => {
    const receipts = await batch(url, 'eth_getTransactionReceipt', hashes)
    return receipts.every(Boolean) && receipts
  })
}

/** What must be equal of a receipt. */
const essence = ({ status, type, from, to, gasUsed, effectiveGasPrice, contractAddress, logs, logsBloom }) => ({
  status,
  type,
  from,
  to,
  gasUsed: Number(gasUsed),
  effectiveGasPrice: Number(effectiveGasPrice),
  contractAddress: contractAddress ?? null,
  logsBloom,
  logs: logs.map(({ address, topics, data }) => ({ address, topics, data })),
})

/** Fails with the first difference: + is what the node says, - what anvil says. */
function same(here, there, what) {
  assert.equal(here.length, there.length, what)
  here.forEach((value, i) => assert.deepEqual([`${what} ${i}`, value], [`${what} ${i}`, there[i]]))
}

/**
 * A call as the call tracer tells it, without the words of an error. Gas of the outermost call is compared with the
 * receipt's instead: anvil adds that of the transactions before it in the block.
 */
const call = ({ type, from, to, value, gasUsed, input, output, error, calls = [] }, depth = 0) => ({
  type,
  from,
  to,
  value: BigInt(value ?? 0),
  ...(depth ? { gasUsed: Number(gasUsed) } : {}),
  input,
  output: output ?? '0x',
  failed: Boolean(error),
  calls: calls.map((inner) => call(inner, depth + 1)),
})

/** Accounts that others than this run use. */
const SHARED = new Set([
  ...Object.values(PREDEPLOYS).map(({ address }) => address.toLowerCase()),
  ...Array.from({ length: 0x101 }, (_, precompile) => numberToHex(precompile, { size: 20 })),
])
/** Accounts of this run. */
const touched = new Set()
/** `{ name, hash, gasUsed }` of all transactions, by subject. */
const sent = []
let nonce = 0

/** What both sides tell of every n-th transaction, by tracer. Nodes keep the state that this needs for a while only. */
const TRACERS = {
  calls: { n: 5, options: { tracer: 'callTracer' }, told: [[], []] },
  steps: { n: 25, options: {}, told: [[], []] },
  changes: { n: 3, options: { tracer: 'prestateTracer', tracerConfig: { diffMode: true } }, told: [[], []] },
}

async function trace(index, hash) {
  for (const { options, told } of Object.values(TRACERS).filter(({ n }) => index % n === 0)) {
    const found = await both((url) => rpc(url, 'debug_traceTransaction', hash, options).catch((error) => ({ error })))
    found.forEach((one, side) => told[side].push(one))
  }
}

/** What both sides told by one of the tracers. */
function traces({ told }) {
  const error = told.flat().find((one) => one.error instanceof Error)
  if (error) throw error.error
  return told
}

async function fund(address) {
  const request = {
    type: 'eip1559',
    chainId,
    gas: 21_000n,
    maxFeePerGas: PRICE,
    maxPriorityFeePerGas: PRICE,
    to: address,
    value: FUNDS,
    nonce,
  }
  nonce += 1
  const raw = await account.signTransaction(request)
  await both((url) => submit(url, [raw]))
}

/** Sends some transactions to both, and fails if they say different things of them. */
async function agree(name, raws) {
  const [here, there] = await both((url) => submit(url, raws))
  assert.deepEqual(
    here.map(({ transactionHash }) => transactionHash),
    raws.map((raw) => keccak256(raw)),
  )
  same(here.map(essence), there.map(essence), `${name}, transaction`)
  for (const { contractAddress, to, from, transactionHash, gasUsed } of here) {
    for (const address of [contractAddress, to, from]) if (address && !SHARED.has(address)) touched.add(address)
    sent.push({ name, hash: transactionHash, gasUsed: Number(gasUsed) })
    await trace(sent.length - 1, transactionHash)
  }
}

async function agreeOnAll({ name, sender, phases }) {
  await fund(sender)
  for (const raws of phases) {
    for (let i = 0; i < raws.length; i += IN_FLIGHT) await agree(name, raws.slice(i, i + IN_FLIGHT))
  }
}

const all = await subjects(PRIVATE_KEY, chainId)
const count = ({ phases }) => phases.flat().length
const title = ({ name }) => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)

run('differential', {
  ...Object.fromEntries(
    all.map((subject) => [`receipts are equal: ${title(subject)}, ${count(subject)} transactions`, () => agreeOnAll(subject)]),
  ),
  'nonces, balances and code are equal afterwards': async () => {
    const list = [...touched]
    for (const method of ['eth_getTransactionCount', 'eth_getBalance', 'eth_getCode']) {
      const [here, there] = await both((url) =>
        batch(
          url,
          method,
          list.map((address) => [address, 'latest']),
        ),
      )
      same(
        list.map((address, i) => [address, here[i]]),
        list.map((address, i) => [address, there[i]]),
        method,
      )
    }
  },
  'slots are equal afterwards': async () => {
    const list = [...touched].flatMap((address) =>
      Array.from({ length: 10 }, (_, slot) => [address, numberToHex(slot, { size: 32 }), 'latest']),
    )
    const [here, there] = await both((url) => batch(url, 'eth_getStorageAt', list))
    same(
      list.map((at, i) => [...at, here[i]]),
      list.map((at, i) => [...at, there[i]]),
      'slot',
    )
  },
  'traces of calls are equal': async () => {
    const [here, there] = traces(TRACERS.calls)
    const used = sent.filter((_, i) => i % TRACERS.calls.n === 0).map(({ gasUsed }) => gasUsed)
    if (!isAnvil)
      same(
        here.map(({ gasUsed }) => Number(gasUsed)),
        used,
        'gas of trace',
      )
    same(
      here.map((told) => call(told)),
      there.map((told) => call(told)),
      'trace',
    )
  },
  'traces of steps are equal': async () => {
    const step = ({ pc, op, gas, gasCost, depth, stack }) => [pc, op, gas, gasCost, depth, stack]
    const [here, there] = traces(TRACERS.steps)
    here.forEach(({ structLogs }, i) => same(structLogs.map(step), there[i].structLogs.map(step), `trace ${i}, step`))
  },
  'changes of state are equal': async () => {
    const ours = (accounts) =>
      Object.fromEntries(
        Object.entries(accounts)
          .filter(([address]) => touched.has(address))
          .sort(),
      )
    same(...traces(TRACERS.changes).map((list) => list.map(({ pre, post }) => ({ pre: ours(pre), post: ours(post) }))), 'change')
  },
  'calls and their errors are equal': async () => {
    const { abi, bytecode, deployedBytecode: code } = artifact('Sample')
    const [to] = touched
    const data = (functionName, args = []) => encodeFunctionData({ abi, functionName, args })
    const overrides = { [to]: { code, stateDiff: { [numberToHex(0, { size: 32 })]: numberToHex(77, { size: 32 }) } } }
    const requests = [
      ...['value', 'label', 'failAssert', 'failEmpty', 'failCustom'].map((name) => data(name)),
      data('failReason', ['because']),
      data('divide', [1n, 0n]),
      data('set', [10n ** 7n, '']),
      data('set', [5n, 'five']),
      '0x',
      '0x12345678',
    ].map((input) => [{ from: account.address, to, data: input }, 'latest', overrides])
    requests.push(
      [{ from: account.address, data: bytecode }, 'latest'],
      [{ to: numberToHex(2, { size: 20 }), data: '0x1234' }, 'latest'],
    )
    const ask = (url) =>
      Promise.all(
        requests.map((params) => rpc(url, 'eth_call', ...params).catch(({ code: number, data: reason }) => ({ number, reason }))),
      )
    const [here, there] = await both(ask)
    same(here, there, 'call')
  },
  'access lists are equal': async () => {
    // Random programs may use slots that depend on the gas that is left.
    const some = sent.filter(({ name }, i) => name !== 'random' && i % 4 === 0)
    const transactions = await batch(
      RPC_URL,
      'eth_getTransactionByHash',
      some.map(({ hash }) => [hash]),
    )
    const requests = transactions
      .filter(({ to }) => to)
      .map(({ from, to, input: data, value }) => [{ from, to, data, value, gas: numberToHex(2_000_000) }, 'latest'])
    const list = (made) =>
      made?.accessList?.map(({ address, storageKeys }) => [address.toLowerCase(), [...storageKeys].sort()]).sort()
    const [here, there] = await both(async (url) => (await batch(url, 'eth_createAccessList', requests)).map(list))
    // anvil gives none for a call that fails.
    same(
      here.filter((_, i) => there[i]),
      there.filter(Boolean),
      'access list',
    )
    assert.ok(there.filter(Boolean).length > 10)
  },
  'what no node takes is refused': async () => {
    const accepted = []
    for (const { why, sender, isPoor, raw } of await refusals(PRIVATE_KEY, chainId, BigInt(gasLimit))) {
      if (isAnvil && ANVIL_TAKES.includes(why)) continue
      if (!isPoor) await fund(sender)
      const outcome = await rpc(RPC_URL, 'eth_sendRawTransaction', raw).catch(({ code, message }) => ({ code, message }))
      if (outcome.code === undefined) accepted.push(why)
    }
    assert.deepEqual(accepted, [])
  },
})
