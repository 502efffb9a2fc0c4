// forge against the node: `forge create` and `forge script`.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  concat,
  createPublicClient,
  encodeAbiParameters,
  getAddress,
  getContractAddress,
  getCreate2Address,
  http,
  keccak256,
  parseEventLogs,
  stringToHex,
} from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { run } from '../lib/check.mjs'
import { PRIVATE_KEY, RPC_URL, artifact } from '../lib/env.mjs'
import { PROJECT, start } from '../lib/foundry.mjs'
import { PREDEPLOYS } from '../lib/predeploys.mjs'

const [Sample, Factory] = ['Sample', 'Factory'].map(artifact)
const account = privateKeyToAccount(PRIVATE_KEY)
const client = createPublicClient({ transport: http(RPC_URL), cacheTime: 0 })
const read = (address, functionName) => client.readContract({ address, abi: Sample.abi, functionName })
const nonceNow = () => client.getTransactionCount(account)
const refusal = async (promise) =>
  (
    await promise.then(
      () => assert.fail('it was accepted'),
      (error) => error,
    )
  ).output ?? assert.fail('forge did not run')

const create = async (flags, contract, args) =>
  JSON.parse(
    await start('forge', ['create', '--json', '--private-key', PRIVATE_KEY, ...flags, contract, '--constructor-args', ...args]),
  )

const script = (flags, env = {}) =>
  start('forge', ['script', 'script/Deploy.s.sol', '--rpc-url', RPC_URL, '--private-key', PRIVATE_KEY, ...flags], env)

/** What the last broadcast of the script wrote. */
async function broadcast() {
  const path = join(PROJECT, 'broadcast/Deploy.s.sol', `${await client.getChainId()}`, 'run-latest.json')
  return JSON.parse(readFileSync(path, 'utf8'))
}

/** Runs the script with a salt and checks all that it did. */
async function deploys(name, flags, type) {
  const salt = keccak256(concat([PRIVATE_KEY, stringToHex(name)]))
  const nonce = await nonceNow()
  await script(['--broadcast', ...flags], { SALT: salt })
  const bytecode = concat([Sample.bytecode, encodeAbiParameters([{ type: 'uint256' }, { type: 'string' }], [7n, 'by script'])])
  const direct = getCreate2Address({ from: PREDEPLOYS.create2Deployer.address, salt, bytecode })
  const factory = getContractAddress({ from: account.address, nonce: BigInt(nonce + 1) })
  const made = getContractAddress({ from: factory, nonce: 1n })
  const { transactions, receipts } = await broadcast()
  assert.deepEqual(
    transactions.map(({ transactionType }) => transactionType),
    ['CREATE2', 'CREATE', 'CALL', 'CALL', 'CALL'],
  )
  assert.deepEqual(
    [transactions[0].contractAddress, transactions[1].contractAddress].map((address) => getAddress(address)),
    [direct, factory],
  )
  assert.deepEqual(
    receipts.map(({ status, type: of }) => [Number(status), Number(of)]),
    Array(5).fill([1, type]),
  )
  assert.deepEqual(await Promise.all([read(direct, 'value'), read(direct, 'label'), read(made, 'label')]), [
    9n,
    'by script',
    'by factory',
  ])
  assert.deepEqual(await Promise.all([direct, made].map((address) => client.getBalance({ address }))), [3n, 16n])
  assert.equal(await nonceNow(), nonce + 5)
  return direct
}

let direct

run('forge', {
  'create: deploys with constructor arguments and value': async () => {
    const nonce = await nonceNow()
    const { deployedTo, transactionHash } = await create(['--broadcast', '--value', '9'], 'src/Sample.sol:Sample', ['5', 'five'])
    assert.equal(getAddress(deployedTo), getContractAddress({ from: account.address, nonce: BigInt(nonce) }))
    assert.deepEqual(await Promise.all([read(deployedTo, 'value'), read(deployedTo, 'label')]), [5n, 'five'])
    assert.equal((await client.getTransactionReceipt({ hash: transactionHash })).type, 'eip1559')
  },
  'create: deploys with a legacy transaction': async () => {
    const { deployedTo, transactionHash } = await create(['--broadcast', '--legacy'], 'src/Sample.sol:Sample', ['6', 'six'])
    assert.equal(await read(deployedTo, 'label'), 'six')
    assert.equal((await client.getTransactionReceipt({ hash: transactionHash })).type, 'legacy')
  },
  'create: only shows the transaction when it is not told to send it': async () => {
    const nonce = await nonceNow()
    await create([], 'src/Sample.sol:Sample', ['6', 'six'])
    assert.equal(await nonceNow(), nonce)
  },
  'create: tells that there are no funds': async () => {
    const poor = keccak256(PRIVATE_KEY)
    const args = ['create', '--broadcast', '--private-key', poor, 'src/Sample.sol:Sample', '--constructor-args', '1', 'one']
    assert.match(await refusal(start('forge', args)), /insufficient funds/i)
  },
  'script: deploys by CREATE2 with a salt and through a factory, and calls both': async () => {
    direct = await deploys('all', [], 2)
  },
  'script: sends one transaction at a time': async () => {
    await deploys('slow', ['--slow'], 2)
  },
  'script: sends legacy transactions': async () => {
    await deploys('legacy', ['--legacy'], 0)
  },
  'script: only simulates when it is not told to broadcast': async () => {
    const nonce = await nonceNow()
    await script([], { SALT: keccak256('0x') })
    assert.equal(await nonceNow(), nonce)
  },
  'script: decodes the error of a contract on the chain': async () => {
    assert.match(await refusal(script(['--sig', 'fail(address)', direct])), /TooLarge\(1000009 .*1000000/)
  },
  'script: refuses a salt that is used up': async () => {
    const salt = keccak256(concat([PRIVATE_KEY, stringToHex('all')]))
    await refusal(script(['--broadcast'], { SALT: salt }))
  },
  'script: leaves receipts that another client reads': async () => {
    const { receipts } = await broadcast()
    const logs = await Promise.all(
      receipts.map(({ transactionHash: hash }) => client.getTransactionReceipt({ hash }).then((receipt) => receipt.logs)),
    )
    const events = parseEventLogs({ abi: [...Sample.abi, ...Factory.abi], logs: logs.flat() })
    assert.deepEqual(
      events.map(({ eventName }) => eventName),
      ['Created', 'Changed', 'Received'],
    )
  },
})
