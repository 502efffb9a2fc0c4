// The transactions: blocks of signed ones, always the same, and a few that every node refuses.
//
// Signatures are deterministic (RFC 6979), the random part has a seed. A block is a list of transactions whose gas limits
// have room in it together, so that no node has a choice.

import { bls12_381 } from '@noble/curves/bls12-381'
import { bn254 } from '@noble/curves/bn254'
import { p256 } from '@noble/curves/p256'
import { concat, getContractAddress, numberToHex, pad, sha256, size, slice } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'

import { asm, init } from './asm.mjs'
import { program } from './random.mjs'

export const CHAIN_ID = 73571
export const GAS_LIMIT = 30_000_000
/** As in crates/chain/tests/it/support.rs. */
export const ACCOUNTS = [...Array(10).keys()].map((i) => account(i + 1))
export const HISTORY = '0x0000F90827F1C53a10cb7A02335B175320002935'

const GWEI = 10n ** 9n
const ALL = 0xffff_ffff_ffffn

function account(key) {
  return privateKeyToAccount(numberToHex(key, { size: 32 }))
}

const word = (value) => (typeof value === 'string' ? pad(value, { size: 32 }) : numberToHex(value, { size: 32 }))
const words = (...values) => concat(values.map(word))
const filler = (bytes, value = 'ab') => `0x${value.repeat(bytes)}`

// Plan: requests in blocks, signed at the end.

const blocks = [[]]
const nonces = new Map()
let room = GAS_LIMIT
let turn = 0

function mine(count = 1) {
  for (let i = 0; i < count; i += 1) blocks.push([])
  room = GAS_LIMIT
}

function nonceOf(from) {
  return nonces.get(from.address) ?? 0
}

/** Sends `fields`, from the next account if there is no other wish; returns the address that a creation makes. */
function send({ from, ...fields }) {
  const sender = from ?? ACCOUNTS[turn++ % ACCOUNTS.length]
  const nonce = nonceOf(sender)
  nonces.set(sender.address, nonce + 1)
  const fees = fields.gasPrice ? {} : { maxFeePerGas: 100n * GWEI, maxPriorityFeePerGas: BigInt(turn % 7) * 1_000_000n }
  const type = fields.authorizationList ? 'eip7702' : fields.gasPrice ? 'legacy' : 'eip1559'
  const request = { type, chainId: CHAIN_ID, gas: 1_000_000n, ...fees, nonce, ...fields }
  if (Number(request.gas) > room) mine()
  room -= Number(request.gas)
  blocks.at(-1).push({ sender, request })
  return fields.to ? undefined : getContractAddress({ from: sender.address, nonce: BigInt(nonce) })
}

const deploy = (source, fields = {}) => send({ data: init(asm(source)), ...fields })
/** Init code of a contract. */
const contract = (source) => init(asm(source))

let key = 0x1000
/** A slot that nothing else uses, with `count` after it. */
const slot = (count = 8) => BigInt((key += count) - count)

// 1. Transfers and envelopes.

function transfers() {
  const [a, b, c, d] = ACCOUNTS
  const rich = [0x201, 0x202].map(account)
  const gasPrice = 20n * GWEI
  for (const { address } of rich) send({ to: address, value: 10n ** 18n })
  send({ from: a, to: a.address, value: 5n })
  send({ from: a, to: b.address, value: 0n })
  send({ to: '0x00000000000000000000000000000000000000aa', value: 0n })
  send({ to: '0x00000000000000000000000000000000000000ab', value: 1n })
  send({ to: '0x00000000000000000000000000000000000000ab', value: 1n, data: '0x0011002233' })
  send({ to: '0xbebebebebebebebebebebebebebebebebebebebe', value: 7n })
  for (let precompile = 1n; precompile <= 0x12n; precompile += 1n) {
    send({ to: numberToHex(precompile, { size: 20 }), value: precompile, gas: 200_000n })
  }
  send({ to: numberToHex(0x100, { size: 20 }), value: 3n })
  mine()
  // All that the accounts have, with and without gas to spare.
  send({ from: rich[0], to: c.address, gas: 21_000n, gasPrice, value: 10n ** 18n - 21_000n * gasPrice })
  send({ from: rich[1], to: rich[0].address, gas: 30_000n, gasPrice, value: 10n ** 18n - 30_000n * gasPrice })
  send({ from: d, type: 'legacy', gasPrice, to: a.address, value: 1n, chainId: undefined })
  const accessList = [
    { address: b.address, storageKeys: [] },
    { address: numberToHex(0x1234, { size: 20 }), storageKeys: [word(1n), word(2n), word(1n)] },
  ]
  send({ type: 'eip2930', gasPrice, accessList, to: c.address, value: 2n })
  send({ type: 'eip2930', gasPrice, accessList: [], to: c.address, value: 2n })
  send({ accessList, to: c.address, value: 2n, data: '0x00ff' })
  // The floor of EIP-7623, with the least gas that it allows.
  send({ to: c.address, data: filler(1000, 'ff'), gas: 61_000n })
  send({ to: c.address, data: filler(1000, '00'), gas: 31_000n })
  send({ to: c.address, data: filler(700, '0f'), gas: 300_000n })
  send({ to: c.address, maxFeePerGas: 50n * GWEI, maxPriorityFeePerGas: 50n * GWEI, value: 1n })
  mine()
}

// 2. What a contract sees.

function environment() {
  const here = 'ADDRESS ORIGIN CALLER CALLVALUE CALLDATASIZE CODESIZE GASPRICE COINBASE TIMESTAMP NUMBER PREVRANDAO GASLIMIT '
    + 'CHAINID SELFBALANCE BASEFEE BLOBBASEFEE MSIZE PC GAS RETURNDATASIZE'
  const reads = [
    ...here.split(' '),
    '0 BLOBHASH', 'CALLER BALANCE', 'COINBASE BALANCE', '0 BLOCKHASH', '1 BLOCKHASH', 'NUMBER BLOCKHASH',
    '1 NUMBER SUB BLOCKHASH', '2 NUMBER SUB BLOCKHASH', '256 NUMBER SUB BLOCKHASH', '257 NUMBER SUB BLOCKHASH',
    'CALLER EXTCODESIZE', 'CALLER EXTCODEHASH', '1 EXTCODEHASH', '0xdeadbeef EXTCODEHASH', 'ADDRESS EXTCODEHASH',
    '0xaa EXTCODEHASH', '0 CALLDATALOAD', '31 CALLDATALOAD', '0 NOT CALLDATALOAD', '0 SLOAD', '0 NOT SLOAD',
  ]
  const stores = reads.map((read, i) => `${read} 0 CALLDATALOAD ${i} ADD SSTORE`)
  const address = deploy(`${stores.join(' ')} STOP`, { gas: 3_000_000n })
  for (const value of [0n, 12n]) send({ to: address, value, data: words(slot(64)), gas: 3_000_000n })
  mine(2)
  send({ to: address, value: 1n, data: words(slot(64)), gas: 3_000_000n })
}

// 3. Calls of every kind.

/** Calls `address` with the rest of its data; stores success + 1, length and hash of what came back. */
function prober(opcode, value) {
  return deploy(`
    128 CALLDATASIZE SUB DUP1 128 0 CALLDATACOPY
    0 0 DUP3 0 ${value ? '96 CALLDATALOAD' : ''} 32 CALLDATALOAD 64 CALLDATALOAD ${opcode}
    1 ADD 0 CALLDATALOAD SSTORE
    RETURNDATASIZE 0 CALLDATALOAD 1 ADD SSTORE
    RETURNDATASIZE 0 0 RETURNDATACOPY RETURNDATASIZE 0 KECCAK256 0 CALLDATALOAD 2 ADD SSTORE STOP`, { value: value ? 1000n : 0n })
}

const probers = {}
function probe(kind, to, data = '0x', { callGas = ALL, value = 0n, ...fields } = {}) {
  send({ to: probers[kind], data: concat([words(slot(4), to, callGas, value), data]), ...fields })
}

function calls() {
  for (const kind of ['CALL', 'CALLCODE']) probers[kind] = prober(kind, true)
  for (const kind of ['DELEGATECALL', 'STATICCALL']) probers[kind] = prober(kind, false)
  const targets = {
    missing: numberToHex(0xdead0001, { size: 20 }),
    plain: ACCOUNTS[3].address,
    empty: deploy('STOP'),
    store: deploy('CALLER 1 SSTORE ADDRESS 2 SSTORE CALLVALUE 3 SSTORE 0 0 LOG0 STOP'),
    echo: deploy('CALLDATASIZE 0 0 CALLDATACOPY CALLDATASIZE 0 RETURN'),
    revert: deploy('9 1 SSTORE 1 0 MSTORE 40 0 REVERT'),
    invalid: deploy('9 1 SSTORE INVALID'),
    unknown: deploy('#0c'),
    underflow: deploy('ADD'),
    jump: deploy('3 JUMP'),
    intoPush: deploy('1 JUMP #605b'),
    destroy: deploy('CALLER SELFDESTRUCT', { value: 5n }),
    creator: deploy('0 0 0 CREATE 0 SSTORE STOP'),
    log: deploy('1 2 3 4 5 LOG4 STOP'),
    transient: deploy('1 1 TSTORE 1 TLOAD 0 MSTORE 32 0 RETURN'),
  }
  for (const kind of Object.keys(probers)) {
    for (const to of Object.values(targets)) probe(kind, to, '0x010203', { value: 1n, gas: 500_000n })
    probe(kind, targets.echo, '0x', { callGas: 0n, value: 1n })
    probe(kind, targets.store, '0x', { callGas: 2299n })
    probe(kind, targets.plain, '0x', { value: 10n ** 20n })
  }
  for (const to of Object.values(targets)) send({ to, value: 3n, gas: 90_000n, data: '0x11' })
  // Itself, until gas or depth ends; the depth is counted in a transient slot and kept.
  const deep = deploy(`0 TLOAD 1 ADD 0 TSTORE 0 0 0 0 0 ADDRESS GAS CALL 0 TLOAD 0 SLOAD DUP2 GT @more JUMPI STOP
    more: 0 SSTORE STOP`)
  for (const gas of [100_000n, 1_000_000n, 17_000_000n, 29_000_000n]) send({ to: deep, gas })
  const returns = deploy(`0 0 0 0 0 ${BigInt(targets.revert)} GAS CALL POP
    RETURNDATASIZE 1 SSTORE 40 0 0 RETURNDATACOPY 0 MLOAD 2 SSTORE 41 0 0 RETURNDATACOPY STOP`)
  send({ to: returns })
  return targets
}

// 4. Creation.

const SELF = 'ADDRESS SELFDESTRUCT'

function creations() {
  const wide = { gas: 8_000_000n }
  const creates = {
    revert: asm('1 0 MSTORE 32 0 REVERT'),
    invalid: asm('INVALID'),
    endless: asm('a: @a JUMP'),
    destroyed: asm(SELF),
    empty: '0x00',
    small: asm('1 1 SSTORE 1 0 RETURN'),
    largest: asm('0x6000 0 RETURN'),
    tooLarge: asm('0x6001 0 RETURN'),
    badStart: asm('0xef 0 MSTORE8 1 0 RETURN'),
    onlyStart: asm('0xef 1 MSTORE8 2 0 RETURN'),
    delegation: asm('0xef0100 232 SHL 0 MSTORE 23 0 RETURN'),
  }
  for (const data of Object.values(creates)) send({ data, value: 2n, ...wide })
  send({ data: '0x', gas: 100_000n })
  send({ data: creates.largest, gas: 4_900_000n })
  send({ data: creates.largest, gas: 5_100_000n })
  const factory = deploy(`
    128 CALLDATASIZE SUB DUP1 128 0 CALLDATACOPY 32 CALLDATALOAD @two JUMPI
    0 64 CALLDATALOAD CREATE @done JUMP
    two: 96 CALLDATALOAD SWAP1 0 64 CALLDATALOAD CREATE2
    done: 1 ADD 0 CALLDATALOAD SSTORE RETURNDATASIZE 0 CALLDATALOAD 1 ADD SSTORE STOP`, { value: 100n })
  for (const kind of [0n, 1n]) {
    for (const data of [...Object.values(creates), '0x', contract('STOP')]) {
      send({ to: factory, data: concat([words(slot(2), kind, 1n, 5n), data]), ...wide })
    }
    // The same salt once more, and more value than there is.
    for (const value of [0n, 10n ** 18n]) {
      send({ to: factory, data: concat([words(slot(2), kind, value, 5n), contract('STOP')]), ...wide })
    }
  }
  // Init code of the greatest length, made in memory, and one byte more.
  for (const length of [0xc000n, 0xc001n]) {
    send({ data: asm(`${length} 0 0 CREATE 1 ADD 0 SSTORE STOP`), ...wide })
    send({ data: asm(`3 ${length} 0 0 CREATE2 1 ADD 0 SSTORE STOP`), ...wide })
  }
}

function destructions() {
  // Creates with calldata[64..] and a salt, calls the child, creates it again.
  const parent = deploy(`
    64 CALLDATASIZE SUB DUP1 64 0 CALLDATACOPY
    7 DUP2 0 32 CALLDATALOAD CREATE2 DUP1 0 CALLDATALOAD SSTORE
    0 0 0 0 0 DUP6 GAS CALL POP 0 0 0 0 3 DUP6 GAS CALL POP
    7 DUP3 0 0 CREATE2 0 CALLDATALOAD 1 ADD SSTORE STOP`, { value: 1000n })
  const child = (code) => concat([asm('5 5 SSTORE'), '0x']).concat(
    asm('17 CODESIZE SUB DUP1 17 0 CODECOPY 0 RETURN').slice(2), asm(code).slice(2))
  for (const code of [SELF, 'CALLER SELFDESTRUCT', 'ORIGIN SELFDESTRUCT', '0xdead0002 SELFDESTRUCT', 'STOP']) {
    for (let i = 0; i < 2; i += 1) send({ to: parent, data: concat([words(slot(2), 9n), child(code)]) })
  }
  for (const beneficiary of [SELF, 'CALLER SELFDESTRUCT', '0xdead0003 SELFDESTRUCT', '1 SELFDESTRUCT']) {
    const address = deploy(`1 1 SSTORE ${beneficiary}`, { value: 11n })
    mine()
    send({ to: address })
    send({ to: address, value: 4n })
  }
}

// 5. Storage, transient storage, memory, logs.

function storage(targets) {
  const address = deploy(`0 loop: DUP1 CALLDATASIZE SWAP1 LT ISZERO @end JUMPI
    DUP1 32 ADD CALLDATALOAD DUP2 CALLDATALOAD SSTORE 64 ADD @loop JUMP end: STOP`)
  const at = 1n
  for (const before of [0n, 1n]) {
    for (const sequence of ['00', '01', '10', '11', '12', '21', '010', '101', '120', '012', '121', '210']) {
      send({ to: address, data: words(at, before), gas: 60_000n })
      send({ to: address, data: concat([...sequence].map((value) => words(at, BigInt(value)))), gas: 90_000n })
    }
  }
  // Many refunds, of which a fifth of the gas counts.
  const many = (value) => concat([...Array(20).keys()].map((i) => words(0x100n + BigInt(i), value)))
  send({ to: address, data: many(1n) })
  send({ to: address, data: many(0n) })
  // The stipend of EIP-2200: not with 2300 gas left.
  for (let gas = 23_500n; gas <= 46_000n; gas += 2500n) send({ to: address, data: words(at, gas), gas })
  const transient = deploy(`
    0 CALLDATALOAD TLOAD 0 CALLDATALOAD 0x10 ADD SSTORE 7 0 CALLDATALOAD TSTORE
    0 0 0 0 0 ${BigInt(targets.transient)} GAS DELEGATECALL POP
    1 TLOAD 1 SSTORE 0 CALLDATALOAD TLOAD 2 SSTORE STOP`)
  for (let i = 0; i < 3; i += 1) send({ to: transient, data: words(BigInt(i)) })
  for (let topics = 0; topics <= 4; topics += 1) {
    const pushes = [...Array(topics).keys()].map((i) => `${i} NOT`).join(' ')
    const lengths = [0, 1, 33, 100].map((length) => `${pushes} ${length} ${topics} LOG${topics}`)
    send({ to: deploy(`CALLER 0 MSTORE 0 NOT 32 MSTORE ${lengths.join(' ')} STOP`) })
    send({ to: deploy(`${pushes} 0 0 LOG${topics} 0 0 REVERT`) })
  }
  send({ to: deploy('0x1234 5 MSTORE 40 5 7 MCOPY 40 7 5 MCOPY 0 300 9 MCOPY 100 0 KECCAK256 0 SSTORE MSIZE 1 SSTORE STOP') })
  for (const value of ['0', '1', '0 NOT', '1 255 SHL', '0xff']) send({ to: deploy(`${value} CLZ 1 ADD 0 SSTORE STOP`) })
  for (const offset of [1_000n, 100_000n, 2n ** 32n, 2n ** 64n, 2n ** 255n]) {
    send({ to: deploy(`1 ${offset} MSTORE MSIZE 0 SSTORE STOP`) })
  }
}

// 6. Precompiles.

const fp = (value) => pad(numberToHex(value), { size: 64 })
const fp2 = ({ c0, c1 }) => concat([fp(c0), fp(c1)])

const SIGNATURE = await ACCOUNTS[0].sign({ hash: sha256('0x1234') })

function precompileInputs() {
  const g1 = (n) => { const { x, y } = bls12_381.G1.ProjectivePoint.BASE.multiply(n).toAffine(); return concat([fp(x), fp(y)]) }
  const g2 = (n) => { const { x, y } = bls12_381.G2.ProjectivePoint.BASE.multiply(n).toAffine(); return concat([fp2(x), fp2(y)]) }
  const order = bls12_381.G1.CURVE.n
  const bn1 = (n) => { const { x, y } = bn254.G1.ProjectivePoint.BASE.multiply(n).toAffine(); return words(x, y) }
  const bn2 = (n) => {
    const { x, y } = bn254.G2.ProjectivePoint.BASE.multiply(n).toAffine()
    return words(x.c1, x.c0, y.c1, y.c0)
  }
  const bnOrder = bn254.G1.CURVE.n
  const digest = sha256('0x1234')
  const secp = concat([digest, word(BigInt(slice(SIGNATURE, 64))), slice(SIGNATURE, 0, 64)])
  const p256Input = (() => {
    const secret = numberToHex(0x77, { size: 32 }).slice(2)
    const { r, s } = p256.sign(digest.slice(2), secret, { lowS: false, prehash: false })
    const { x, y } = p256.ProjectivePoint.fromPrivateKey(secret).toAffine()
    return concat([digest, words(r, s, x, y)])
  })()
  const modexp = (base, exponent, modulus) =>
    concat([words(BigInt(size(base)), BigInt(size(exponent)), BigInt(size(modulus))), base, exponent, modulus])
  const blakeState = '0x48c9bdf267e6096a3ba7ca8485ae67bb2bf894fe72f36e3cf1361d5f3af54fa5'
    + 'd182e6ad7f520e511f6c3e2b8c68059b6bbd41fbabd9831f79217e1319cde05b'
  const blake = (rounds, final) => concat([
    numberToHex(rounds, { size: 4 }), blakeState, pad('0x616263', { dir: 'right', size: 128 }),
    '0x03000000000000000000000000000000', final])
  const infinity = pad('0xc0', { dir: 'right', size: 48 })
  const versioned = concat(['0x01', slice(sha256(infinity), 1)])
  const kzg = (y) => concat([versioned, words(5n, y), infinity, infinity])
  return {
    0x01: [secp, concat([digest, words(29n), slice(secp, 64)]), slice(secp, 0, 100), words(0n, 27n, 0n, 1n)],
    0x02: ['0x', '0x616263', filler(100)],
    0x03: ['0x', '0x616263', filler(100)],
    0x04: ['0x', '0x616263', filler(100)],
    0x05: [
      modexp('0x03', '0x05', '0x07'), modexp('0x03', '0x05', '0x'), modexp('0x', '0x', '0x05'), modexp('0x02', '0x00', '0x01'),
      modexp(filler(32, 'fe'), filler(32, 'fd'), filler(32, 'fb')), modexp(filler(65, 'fe'), filler(33, '01'), filler(64, 'f1')),
      modexp('0x03', '0x10001', filler(256, 'c5')), words(1024n, 1n, 1024n), words(1025n, 1n, 1n), words(1n, 1025n, 1n),
      words(0n, 0n, 1025n), words(0n, 2n ** 255n, 0n), words(0n, 0n, 0n),
    ],
    0x06: [concat([bn1(2n), bn1(3n)]), concat([bn1(2n), bn1(bnOrder - 2n)]), bn1(1n), '0x', words(1n, 1n), words(0n, 0n, 1n, 2n)],
    0x07: [concat([bn1(2n), words(9n)]), concat([bn1(2n), words(bnOrder)]), concat([bn1(2n), words(2n ** 256n - 1n)]), words(1n, 3n, 1n)],
    0x08: [
      '0x', concat([bn1(2n), bn2(3n), bn1(bnOrder - 6n), bn2(1n)]), concat([bn1(2n), bn2(3n)]), filler(191, '00'),
      concat([words(0n, 0n), bn2(1n)]), concat([bn1(1n), words(1n, 2n, 3n, 4n)]),
    ],
    0x09: [blake(12, '0x01'), blake(12, '0x00'), blake(0, '0x01'), blake(5000, '0x01'), blake(12, '0x02'), slice(blake(1, '0x01'), 1)],
    0x0a: [kzg(0n), kzg(1n), slice(kzg(0n), 1), concat([word(1n), slice(kzg(0n), 32)])],
    0x0b: [concat([g1(2n), g1(3n)]), concat([g1(2n), g1(order - 2n)]), concat([g1(1n), filler(128, '00')]), filler(256), g1(1n)],
    0x0c: [
      concat([g1(2n), words(5n)]), concat([g1(2n), words(5n), g1(3n), words(2n ** 256n - 1n)]), concat([g1(2n), words(0n)]), '0x',
    ],
    0x0d: [concat([g2(2n), g2(3n)]), concat([g2(2n), g2(order - 2n)]), filler(512)],
    0x0e: [concat([g2(2n), words(5n)]), concat([g2(2n), words(5n), g2(3n), words(order - 1n)]), '0x'],
    0x0f: [concat([g1(2n), g2(3n), g1(order - 6n), g2(1n)]), concat([g1(2n), g2(3n)]), '0x', filler(384)],
    0x10: [fp(0n), fp(12345n), filler(64), filler(63, '00')],
    0x11: [fp2({ c0: 1n, c1: 2n }), fp2({ c0: 0n, c1: 0n }), filler(128)],
    0x100: [p256Input, concat([slice(p256Input, 0, 159), '0x00']), slice(p256Input, 0, 159), concat([p256Input, '0x00']), '0x'],
  }
}

function precompiles() {
  for (const [number, inputs] of Object.entries(precompileInputs())) {
    const to = numberToHex(Number(number), { size: 20 })
    inputs.forEach((input, i) => {
      probe(['STATICCALL', 'CALL', 'DELEGATECALL', 'CALLCODE'][i % 4], to, input)
      if (i === 0) {
        probe('CALL', to, input, { callGas: 100n })
        send({ to, data: input })
        send({ to, data: input, gas: BigInt(21_000 + 40 * size(input)) + 400n })
      }
    })
  }
  probe('STATICCALL', HISTORY, words(1n))
  probe('STATICCALL', HISTORY, words(10_000n))
  probe('CALL', HISTORY, '0x01')
}

// 7. Delegation (EIP-7702).

/** An authorization, signed with the rest. */
const authorize = (authority, address, nonce, chainId = CHAIN_ID) => ({ authority, fields: { address, nonce, chainId } })

function delegations(targets) {
  const [a, b, c, d, e, f] = [0x301, 0x302, 0x303, 0x304, 0x305, 0x306].map(account)
  const zero = numberToHex(0, { size: 20 })
  const list = (to, ...authorizationList) => send({ to, authorizationList, value: 1n, data: '0x0102' })
  const look = deploy(`0 CALLDATALOAD EXTCODESIZE 32 CALLDATALOAD SSTORE 0 CALLDATALOAD EXTCODEHASH 32 CALLDATALOAD 1 ADD SSTORE
    64 0 0 0 CALLDATALOAD EXTCODECOPY 0 MLOAD 32 CALLDATALOAD 2 ADD SSTORE 0 CALLDATALOAD BALANCE 32 CALLDATALOAD 3 ADD SSTORE STOP`)
  const spy = (of) => send({ to: look, data: words(of.address, slot(4)) })
  send({ to: a.address, value: 10n ** 18n })
  send({ to: b.address, value: 10n ** 18n })
  // The others exist too: anvil takes an account that does not for one that does, and gives the refund of EIP-7702.
  for (const { address } of [c, d, e, f]) send({ to: address, value: 1n })
  list(a.address, authorize(a, targets.store, 0))
  spy(a)
  for (const kind of Object.keys(probers)) probe(kind, a.address, '0x01', { value: 1n })
  list(b.address, authorize(b, targets.revert, 0), authorize(b, targets.echo, 1, 0))
  list(b.address, authorize(b, targets.store, 0), authorize(c, targets.store, 1), authorize(c, targets.store, 0, 1))
  spy(b)
  spy(c)
  list(d.address, authorize(d, targets.revert, 0))
  spy(d)
  list(e.address, authorize(e, numberToHex(2, { size: 20 }), 0))
  probe('CALL', e.address, '0x616263')
  list(f.address, authorize(f, a.address, 0))
  list(f.address, authorize(f, f.address, 1))
  probe('DELEGATECALL', f.address)
  // Sent by the authority itself. Its nonce rises within a block, so it waits for the next one: pools know no better.
  mine()
  nonces.set(a.address, 1)
  send({ from: a, to: a.address, authorizationList: [authorize(a, targets.destroy, 2)], value: 2n })
  mine()
  nonces.set(a.address, 3)
  send({ from: a, to: ACCOUNTS[0].address, value: 1n })
  send({ from: a, data: contract('STOP') })
  send({ to: a.address, value: 1n })
  spy(a)
  list(a.address, authorize(a, zero, 5))
  spy(a)
  const last = ACCOUNTS[9]
  const authorization = authorize(last, targets.creator, nonceOf(last))
  send({ from: ACCOUNTS[0], to: targets.empty, authorizationList: [authorization] })
  nonces.set(last.address, nonceOf(last) + 1)
  mine()
}

// 8. One transaction with many gas limits, and base fees that rise and fall.

function sweep(targets) {
  const child = BigInt(contract('STOP'))
  const length = (child.toString(16).length + 1) >> 1
  const address = deploy(`
    1 0 SLOAD ADD 0 SSTORE ${child} ${8 * (32 - length)} SHL 0 MSTORE ${length} 0 1 CREATE 1 SSTORE
    0 0 0 0 3 ${BigInt(targets.store)} GAS CALL 2 SSTORE 5 5 SSTORE 0 5 SSTORE CALLER 64 0 LOG1
    96 64 0 0 ${BigInt(targets.revert)} 20000 STATICCALL 3 SSTORE 100 10 KECCAK256 7 SSTORE STOP`, { value: 1000n })
  for (let gas = 21_000n; gas < 60_000n; gas += 1_500n) send({ to: address, gas, value: 1n })
  for (let gas = 60_000n; gas < 250_000n; gas += 5_000n) send({ to: address, gas, value: 1n })
}

function fees() {
  mine()
  const endless = deploy('a: @a JUMP')
  mine()
  for (let i = 0; i < 10; i += 1) {
    send({ to: endless, gas: i % 3 === 2 ? 20_000_000n : 30_000_000n })
    mine()
  }
  mine(6)
  send({ to: endless, gas: 15_000_000n })
  mine(6)
}

// 9. Random programs.

function random(targets) {
  const callees = Object.values(targets)
  for (let seed = 1; seed <= 200; seed += 1) {
    const address = deploy(program(seed, callees), { gas: 250_000n, value: BigInt(seed % 3) })
    send({ to: address, data: filler(seed % 70, '9c'), value: BigInt(seed % 5), gas: 300_000n })
  }
}

/** What nodes refuse: to be sent after all blocks. */
function refusals() {
  const from = ACCOUNTS[1]
  const [nonce, to] = [nonceOf(from), ACCOUNTS[2].address]
  const poor = account(0x401)
  const base = { type: 'eip1559', chainId: CHAIN_ID, gas: 100_000n, maxFeePerGas: 100n * GWEI, maxPriorityFeePerGas: 0n, nonce, to }
  const refuse = (why, fields, sender = from) => ({ why, sender, request: { ...base, ...fields } })
  return [
    refuse('nonce too low', { nonce: nonce - 1 }),
    refuse('no funds', { nonce: 0 }, poor),
    refuse('more value than funds', { value: 10n ** 30n }),
    refuse('gas below 21000', { gas: 20_999n }),
    refuse('gas below the floor of data', { gas: 60_999n, data: filler(1000, 'ff') }),
    refuse('gas below the cost of creation', { gas: 53_000n, to: undefined, data: filler(1000) }),
    refuse('gas above the block', { gas: 30_000_001n }),
    refuse('another chain', { chainId: 1 }),
    refuse('init code too long', { to: undefined, data: filler(0xc001, '00'), gas: 10_000_000n }),
  ]
}

async function sign({ sender, request: { authorizationList, ...request } }) {
  if (authorizationList) {
    request.authorizationList = await Promise.all(
      authorizationList.map(({ authority, fields }) => authority.signAuthorization(fields)))
  }
  return sender.signTransaction(request)
}

/** `{ blocks: [[raw]], refused: [{ why, raw }] }` */
export async function transactions() {
  mine()
  transfers()
  environment()
  const targets = calls()
  creations()
  destructions()
  storage(targets)
  precompiles()
  delegations(targets)
  sweep(targets)
  fees()
  random(targets)
  mine()
  const refused = refusals().map(async (one) => ({ why: one.why, raw: await sign(one) }))
  return {
    blocks: await Promise.all(blocks.map((block) => Promise.all(block.map(sign)))),
    refused: await Promise.all(refused),
  }
}
