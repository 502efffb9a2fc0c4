// The transactions that the node and anvil both execute, by subject.
//
// Results do not depend on when and by whom a block is made: prices are the same whatever the base fee, and programs read
// nothing of the block. Accounts are new in each run. In every subject the transactions of a phase have one sender, or
// none of them depends on another sender's.

import {
  concat,
  encodeAbiParameters,
  encodeDeployData,
  encodeFunctionData,
  getContractAddress,
  keccak256,
  maxUint256,
  numberToHex,
  pad,
  parseAbiParameters,
  parseEther,
  size,
  stringToHex,
  zeroAddress,
} from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { asm, init } from '../../anvil/asm.mjs'
import { program } from '../../anvil/random.mjs'
import { artifact } from './env.mjs'
import { PREDEPLOYS } from './predeploys.mjs'

/** Fee and tip of gas, in wei: the base fee has to be lower. */
export const PRICE = 20n * 10n ** 9n
const word = (value) => (typeof value === 'string' ? pad(value, { size: 32 }) : numberToHex(value, { size: 32 }))
const words = (...values) => concat(values.map(word))
const filler = (bytes, value = 'ab') => `0x${value.repeat(bytes)}`

/** Requests in phases, signed at the end. */
class Plan {
  #phases = [[]]
  #nonces = new Map()

  constructor(root, chainId, name) {
    Object.assign(this, { root: keccak256(concat([root, stringToHex(name)])), chainId })
    this.sender = this.account('sender')
  }

  account(name) {
    return privateKeyToAccount(keccak256(concat([this.root, stringToHex(name)])))
  }

  nonce({ address }) {
    return this.#nonces.get(address) ?? 0
  }

  /** An account that got or gets a higher nonce by a delegation. */
  skip({ address }, count = 1) {
    this.#nonces.set(address, this.nonce({ address }) + count)
  }

  /** What follows is sent when everything before it is in blocks. */
  wait() {
    this.#phases.push([])
  }

  /** Returns the address that a creation makes. */
  send({ from = this.sender, ...fields }) {
    const nonce = this.nonce(from)
    this.skip(from)
    const type = fields.authorizationList ? 'eip7702' : (fields.type ?? 'eip1559')
    const fees =
      type === 'legacy' || type === 'eip2930' ? { gasPrice: PRICE } : { maxFeePerGas: PRICE, maxPriorityFeePerGas: PRICE }
    this.#phases.at(-1).push({ from, request: { type, chainId: this.chainId, gas: 1_000_000n, ...fees, nonce, ...fields } })
    return fields.to ? undefined : getContractAddress({ from: from.address, nonce: BigInt(nonce) })
  }

  /** Deploys a program in the words of the assembler. */
  program(source, fields = {}) {
    return this.send({ data: init(asm(source)), ...fields })
  }

  /** Deploys a compiled contract; returns a function that calls it. */
  contract(name, args = [], fields = {}) {
    const { abi, bytecode } = artifact(name)
    const address = this.send({ data: encodeDeployData({ abi, bytecode, args }), gas: 3_000_000n, ...fields })
    const call = (functionName, functionArgs = [], more = {}) =>
      this.send({ to: address, data: encodeFunctionData({ abi, functionName, args: functionArgs }), ...more })
    return Object.assign(call, { address })
  }

  async signed() {
    const sign = async ({ from, request: { authorizationList, ...request } }) => {
      if (authorizationList) {
        request.authorizationList = await Promise.all(
          authorizationList.map(({ authority, ...fields }) => authority.signAuthorization(fields)),
        )
      }
      return from.signTransaction(request)
    }
    return Promise.all(this.#phases.map((phase) => Promise.all(phase.map(sign))))
  }
}

function transfers(plan) {
  const [a, b] = [plan.account('a'), plan.account('b')]
  const { address: self } = plan.sender
  plan.send({ to: a.address, value: parseEther('0.1'), gas: 21_000n })
  plan.send({ to: self, value: 5n })
  plan.send({ to: self, value: 0n, data: '0x1234' })
  plan.send({ to: b.address, value: 0n })
  for (const type of ['legacy', 'eip2930', 'eip1559']) plan.send({ type, to: b.address, value: 1n, data: '0x0011002233' })
  for (let precompile = 1n; precompile <= 0x11n; precompile += 1n)
    plan.send({ to: numberToHex(precompile, { size: 20 }), value: 1n, gas: 200_000n })
  for (const to of [0x100n, 0xaan, 0n]) plan.send({ to: numberToHex(to, { size: 20 }), value: 1n, gas: 200_000n })
  const accessList = [
    { address: b.address, storageKeys: [] },
    { address: a.address, storageKeys: [word(1n), word(2n), word(1n)] },
  ]
  for (const type of ['eip2930', 'eip1559']) plan.send({ type, accessList, to: b.address, value: 2n, data: '0x00ff' })
  // The floor of EIP-7623, with the least gas that it allows and with more.
  plan.send({ to: b.address, data: filler(1000, 'ff'), gas: 61_000n })
  plan.send({ to: b.address, data: filler(1000, '00'), gas: 31_000n })
  plan.send({ to: b.address, data: filler(700, '0f'), gas: 300_000n })
  plan.send({ to: b.address, data: filler(100_000, '01'), gas: 5_000_000n })
  plan.wait()
  // All that an account has, but for what gas costs.
  plan.send({ from: a, to: b.address, gas: 21_000n, value: parseEther('0.1') - 21_000n * PRICE })
}

function contracts(plan) {
  const sample = plan.contract('Sample', [5n, 'five'], { value: 9n })
  const second = plan.contract('Sample', [6n, 'a longer label that takes more than one slot of the storage'])
  sample('set', [7n, 'seven'])
  sample('set', [7n, 'the same'])
  sample('set', [0n, 'a refund'])
  sample('set', [10n ** 7n, 'too large'])
  sample('setMany', [1n, 20n])
  sample('sum', [filler(3200, '01')])
  sample('sum', [`0x${'00000001'.repeat(25_000)}`], { gas: 20_000_000n })
  for (const call of ['failCustom', 'failEmpty', 'failAssert']) sample(call)
  sample('failReason', ['because'])
  sample('divide', [1n, 0n])
  sample('add', [maxUint256, 1n])
  sample('numberAt', [3n])
  sample('spin', [], { gas: 200_000n })
  sample('readOther', [second.address])
  const accessList = [
    { address: second.address, storageKeys: [word(0n)] },
    { address: sample.address, storageKeys: [word(0n), word(1n)] },
  ]
  sample('readOther', [second.address], { accessList })
  sample('readOther', [plan.account('nobody').address])
  sample('set', [1n, 'with value'], { value: 1n })
  plan.send({ to: sample.address, value: 3n })
  plan.send({ to: sample.address, value: 3n, gas: 21_500n })
  plan.send({ to: sample.address, data: '0x12345678' })
  const factory = plan.contract('Factory')
  factory('create', [1n, 'a'], { value: 4n })
  factory('create2', [2n, 'b', word(1n)], { value: 4n })
  factory('create2', [2n, 'b', word(1n)], { gas: 3_000_000n })
  factory('create', [2n, 'b'], { gas: 250_000n })
  const token = plan.contract('Token', [10n ** 12n])
  const owner = plan.sender.address
  for (const amount of [0n, 1n, 10n ** 13n]) token('transfer', [plan.account('a').address, amount])
  token('transferFrom', [owner, plan.account('a').address, 1n])
  token('approve', [owner, 5n])
  token('transferFrom', [owner, plan.account('a').address, 5n])
  token('approve', [PREDEPLOYS.permit2.address, maxUint256])
  const { address: deployer } = PREDEPLOYS.create2Deployer
  const { abi, bytecode } = artifact('Sample')
  const creation = concat([plan.root, encodeDeployData({ abi, bytecode, args: [3n, 'salted'] })])
  for (let i = 0; i < 2; i += 1) plan.send({ to: deployer, data: creation, gas: 3_000_000n })
  const calls = encodeAbiParameters(parseAbiParameters('(address,bool,bytes)[]'), [
    [
      [sample.address, true, '0x3fa4f245'],
      [sample.address, true, '0xdeadbeef'],
    ],
  ])
  plan.send({ to: PREDEPLOYS.multicall3.address, data: concat(['0x82ad56cb', calls]) })
}

function creations(plan) {
  const returns = (length, first = '') => `${first} ${length} 0 RETURN`
  const create = (source, fields) => plan.send({ data: asm(source), ...fields })
  create('STOP')
  create(returns(1))
  create(returns(24_576), { gas: 6_000_000n })
  create(returns(24_577), { gas: 6_000_000n })
  create(returns(1, '0xef 0 MSTORE8'))
  create(returns(1, '0xfe 0 MSTORE8'))
  create('7 0 REVERT')
  create('INVALID', { gas: 60_000n })
  create(returns(1_000), { gas: 150_000n })
  create('ORIGIN SELFDESTRUCT', { value: 5n })
  create('1 1 SSTORE 2 2 SSTORE STOP', { value: 5n })
  plan.send({ data: filler(0xc000, '00'), gas: 3_000_000n })
  plan.send({ data: '0x' })
  // A contract that creates until it has no gas left, and one that destroys itself and is called again.
  const nest = plan.program(
    `${BigInt(init('0x00'))} 0 MSTORE 12 20 1 CREATE 0 SSTORE 12 20 0 CREATE 1 SSTORE 7 12 20 0 CREATE2 2 SSTORE
    7 12 20 0 CREATE2 3 SSTORE 8 12 20 99 CREATE2 4 SSTORE STOP`,
    { value: 10n },
  )
  for (const gas of [100_000n, 150_000n, 250_000n, 1_000_000n, 6_000_000n]) plan.send({ to: nest, gas })
  const destroy = plan.program('CALLER SELFDESTRUCT', { value: 10n })
  plan.send({ to: destroy, value: 1n })
  plan.send({ to: destroy, value: 1n })
}

/** A contract that runs through most kinds of costs, with many gas limits, so that it stops at many places. */
function gasLimits(plan) {
  const store = plan.program('1 0 SLOAD ADD 0 SSTORE 32 0 LOG0 STOP')
  const fail = plan.program('0x2a 0 MSTORE 32 0 REVERT')
  const child = BigInt(init('0x00'))
  const to = plan.program(
    `1 0 SLOAD ADD 0 SSTORE ${child} 0 MSTORE 12 20 1 CREATE 1 SSTORE 0 0 0 0 3 ${BigInt(store)} GAS CALL 2 SSTORE
    5 5 SSTORE 0 5 SSTORE CALLER 64 0 LOG1 96 64 0 0 ${BigInt(fail)} 20000 STATICCALL 3 SSTORE 100 10 KECCAK256 7 SSTORE
    1 9 TSTORE 9 TLOAD 8 SSTORE STOP`,
    { value: 1000n },
  )
  for (let gas = 21_000n; gas < 60_000n; gas += 1_500n) plan.send({ to, gas, value: 1n })
  for (let gas = 60_000n; gas < 420_000n; gas += 8_000n) plan.send({ to, gas, value: 1n })
}

function precompiles(plan) {
  const digest = keccak256('0x1234')
  const blake = (final) =>
    concat([
      numberToHex(12, { size: 4 }),
      filler(64, '3c'),
      pad('0x616263', { dir: 'right', size: 128 }),
      filler(16, '00'),
      final,
    ])
  const modexp = (base, exponent, modulus) =>
    concat([words(BigInt(size(base)), BigInt(size(exponent)), BigInt(size(modulus))), base, exponent, modulus])
  // From the test vectors of EIP-7951: a signature that is valid.
  const p256 =
    '0x4cee90eb86eaa050036147a12d49004b6b9c72bd725d39d4785011fe190f0b4da73bd4903f0ce3b639bbbf6e8e80d16931ff4bcf5993d58468e8fb19086e8cac' +
    '36dbcd03009df8c59286b162af3bd7fcc0450c9aa81be5d10d312af6c66b1d604aebd3099c618202fcfe16ae7770b0c49ab5eadf74b754204a3bb6060e44eff3' +
    '7618b065f9832de4ca6ca971a7a1adc826d0f7c00181a5fb2ddf79ae00b4e10e'
  const inputs = {
    0x01: [words(digest, 27n, 1n, 1n), words(digest, 29n, 1n, 1n), '0x'],
    0x02: ['0x', filler(100)],
    0x03: ['0x', filler(100)],
    0x04: ['0x', filler(100)],
    0x05: [
      modexp('0x03', '0x05', '0x07'),
      modexp(filler(65, 'fe'), filler(33, '01'), filler(64, 'f1')),
      words(1025n, 1n, 1n),
      words(0n, 0n, 0n),
    ],
    0x06: [words(1n, 2n, 1n, 2n), words(1n, 1n), '0x'],
    0x07: [words(1n, 2n, 9n), words(1n, 3n, 9n)],
    0x08: ['0x', filler(192, '00'), filler(191, '00')],
    0x09: [blake('0x01'), blake('0x00'), blake('0x02'), '0x'],
    0x0a: [filler(192, '00'), '0x'],
    0x0b: [filler(256, '00'), filler(256), '0x'],
    0x0c: [filler(160, '00'), '0x'],
    0x0d: [filler(512, '00'), filler(512)],
    0x0e: [filler(288, '00'), '0x'],
    0x0f: [filler(384, '00'), '0x'],
    0x10: [filler(64, '00'), filler(64)],
    0x11: [filler(128, '00'), filler(128)],
    0x100: [p256, `${p256.slice(0, -2)}00`, '0x'],
  }
  // Calls the first word with the rest; stores success + 1 and the hash of what came back in slots that depend on the calldata.
  const probe = plan.program(`32 CALLDATASIZE SUB DUP1 32 0 CALLDATACOPY 0 0 DUP3 0 0 CALLDATALOAD GAS STATICCALL
    1 ADD 0 CALLDATALOAD CALLDATASIZE ADD SSTORE RETURNDATASIZE 0 0 RETURNDATACOPY RETURNDATASIZE 0 KECCAK256
    0 CALLDATALOAD CALLDATASIZE ADD NOT SSTORE RETURNDATASIZE 0 RETURN`)
  for (const [number, list] of Object.entries(inputs)) {
    const to = numberToHex(Number(number), { size: 20 })
    for (const input of list) plan.send({ to: probe, data: concat([word(to), input]), gas: 2_000_000n })
    plan.send({ to, data: list[0], gas: 1_000_000n })
  }
}

/** EIP-7702. All authorities exist: anvil gives the refund for those that do not, too. */
function delegations(plan) {
  const [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'].map((name) => plan.account(name))
  for (const { address } of [a, b, c, d, e]) plan.send({ to: address, value: parseEther('0.2') })
  const store = plan.program('CALLER 0 SSTORE CALLVALUE 1 SSTORE CALLER 0 0 LOG1 STOP')
  const fail = plan.program('0x2a 0 MSTORE 32 0 REVERT')
  const look = plan.program(
    '0 CALLDATALOAD EXTCODESIZE 0 SSTORE 0 CALLDATALOAD EXTCODEHASH 1 SSTORE 0 0 0 0 7 0 CALLDATALOAD GAS CALL 2 SSTORE STOP',
    { value: 1000n },
  )
  const batch = plan.contract('Batch')
  plan.wait()
  const authorize = (authority, address, nonce, chainId = plan.chainId) => ({
    authority,
    contractAddress: address,
    nonce,
    chainId,
  })
  const list = (to, ...authorizationList) => plan.send({ to, authorizationList, value: 1n, data: '0x0102' })
  const spy = ({ address }) => plan.send({ to: look, data: word(address) })
  list(a.address, authorize(a, store, 0))
  spy(a)
  list(b.address, authorize(b, fail, 0), authorize(b, store, 1, 0))
  spy(b)
  // Wrong nonce, another chain, and twice the same.
  list(c.address, authorize(c, store, 1), authorize(c, store, 0, plan.chainId + 1))
  list(c.address, authorize(c, store, 0), authorize(c, store, 0))
  spy(c)
  list(d.address, authorize(d, fail, 0))
  list(e.address, authorize(e, numberToHex(2, { size: 20 }), 0))
  spy(e)
  list(zeroAddress, authorize(e, a.address, 1))
  spy(e)
  plan.wait()
  // Sent by the authority itself; then it calls itself as a batch; then the delegation ends.
  plan.skip(a)
  plan.send({ from: a, to: a.address, authorizationList: [authorize(a, batch.address, 2)] })
  plan.skip(a)
  plan.wait()
  const { abi } = artifact('Batch')
  const execute = (calls) => encodeFunctionData({ abi, functionName: 'execute', args: [calls] })
  plan.send({
    from: a,
    to: a.address,
    data: execute([
      { to: b.address, value: 1n, data: '0x' },
      { to: store, value: 2n, data: '0x' },
    ]),
  })
  plan.send({ from: a, to: a.address, data: execute([{ to: fail, value: 0n, data: '0x' }]) })
  plan.send({ from: a, data: init('0x00') })
  plan.wait()
  plan.send({ to: a.address, data: execute([]) })
  list(a.address, authorize(a, zeroAddress, 6))
  spy(a)
}

/** What a program may not read, and what it reads instead. */
const ELSEWHERE = {
  COINBASE: 'CALLER',
  TIMESTAMP: 'CALLDATASIZE',
  NUMBER: 'ADDRESS',
  PREVRANDAO: 'CHAINID',
  GASLIMIT: 'GAS',
  BASEFEE: 'GASPRICE',
  BLOBBASEFEE: 'PC',
  BALANCE: 'ISZERO',
  BLOCKHASH: 'NOT',
  BLOBHASH: 'NOT',
}

/** Programs that a generator writes. */
function random(plan) {
  const callees = [
    '1 0 SLOAD ADD 0 SSTORE 32 0 LOG0 STOP',
    '0x2a 0 MSTORE 32 0 REVERT',
    'CALLDATASIZE 0 0 CALLDATACOPY CALLDATASIZE 0 RETURN',
    'INVALID',
  ].map((source) => plan.program(source))
  // Calls with value to these cost less if they exist, as they do after this.
  for (const to of [1n, 2n, 3n, 4n, 6n, 0xaan]) plan.send({ to: numberToHex(to, { size: 20 }), value: 1n })
  for (let seed = 1; seed <= 120; seed += 1) {
    const source = program(seed, callees)
      .split(' ')
      .map((name) => ELSEWHERE[name] ?? name)
      .join(' ')
    const to = plan.program(source, { gas: 250_000n, value: BigInt(seed % 3) })
    plan.send({ to, data: filler(seed % 70, '9c'), value: BigInt(seed % 5), gas: 300_000n })
  }
}

const SUBJECTS = { transfers, contracts, creations, gasLimits, precompiles, delegations, random }

/** `{ name, sender, phases }` of each subject: the account that needs funds, and raw transactions to send in order. */
export async function subjects(root, chainId) {
  return Promise.all(
    Object.entries(SUBJECTS).map(async ([name, fill]) => {
      const plan = new Plan(root, chainId, name)
      fill(plan)
      return { name, sender: plan.sender.address, phases: await plan.signed() }
    }),
  )
}

/**
 * `{ why, sender, isPoor, raw }`: what nodes refuse. Each has a sender of its own, because what is taken by mistake is in the way of
 * what its sender sends next. All but the poor one need funds first.
 */
export async function refusals(root, chainId, gasLimit) {
  const to = privateKeyToAccount(keccak256(root)).address
  const base = { type: 'eip1559', chainId, gas: 100_000n, maxFeePerGas: PRICE, maxPriorityFeePerGas: 0n, nonce: 0, to }
  const list = [
    ['no funds', {}, 'poor'],
    ['more value than funds', { value: 10n ** 30n }],
    ['more gas than funds', { maxFeePerGas: 10n ** 24n }],
    ['gas below 21000', { gas: 20_999n }],
    ['gas below the floor of calldata', { gas: 60_999n, data: filler(1000, 'ff') }],
    ['gas below the cost of creation', { gas: 53_000n, to: undefined, data: filler(1000) }],
    ['gas below the cost of an access list', { gas: 23_399n, accessList: [{ address: to, storageKeys: [] }] }],
    ['gas above the block', { gas: gasLimit + 1n }],
    ['another chain', { chainId: chainId + 1 }],
    ['init code that is too long', { to: undefined, data: filler(0xc001, '00'), gas: 10_000_000n }],
    ['an empty list of authorizations', { type: 'eip7702', authorizationList: [] }],
    ['a blob', { type: 'eip4844', maxFeePerBlobGas: 1n, blobVersionedHashes: [pad('0x01', { dir: 'right', size: 32 })] }],
  ]
  return Promise.all(
    list.map(async ([why, fields, purse]) => {
      const sender = privateKeyToAccount(keccak256(concat([root, stringToHex(why)])))
      return { why, sender: sender.address, isPoor: Boolean(purse), raw: await sender.signTransaction({ ...base, ...fields }) }
    }),
  )
}
