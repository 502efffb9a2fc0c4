// cast against the node.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { concat, getContractAddress, getCreate2Address, keccak256, numberToHex, pad, parseEther, size } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { run, until } from '../lib/check.mjs'
import { PRIVATE_KEY, RPC_URL, WS_URL, artifact } from '../lib/env.mjs'
import { foundry, start } from '../lib/foundry.mjs'
import { PERMIT_TYPES, PREDEPLOYS } from '../lib/predeploys.mjs'
import { verifyProof } from '../lib/proof.mjs'
import { rpc } from '../lib/rpc.mjs'

const key = (n) => keccak256(concat([PRIVATE_KEY, numberToHex(n)]))
const account = privateKeyToAccount(PRIVATE_KEY)
const stranger = privateKeyToAccount(key(99)).address
const MAX = 2n ** 256n - 1n

const cast = (...args) => start('cast', args)
const json = async (...args) => JSON.parse(await cast(...args, '--json'))
const send = (...args) => json('send', '--private-key', PRIVATE_KEY, ...args)
const nonceNow = async () => Number(await cast('nonce', account.address))
const isAnvil = /anvil/i.test(await cast('client'))
const chainId = await cast('chain-id')

/** What cast prints when it fails. */
const refusal = async (promise) =>
  (
    await promise.then(
      () => assert.fail('it was accepted'),
      (error) => error,
    )
  ).output ?? assert.fail('cast did not run')

/** Creation code with encoded arguments. */
async function creation(name, signature, ...args) {
  const encoded = signature ? (await cast('abi-encode', signature, ...args)).slice(2) : ''
  return artifact(name).bytecode + encoded
}

async function deploy(name, signature, args = [], flags = []) {
  const receipt = await send(...flags, '--create', await creation(name, signature, ...args))
  assert.equal(receipt.status, '0x1')
  return receipt.contractAddress
}

/** Starts cast, waits until it has had time to subscribe, acts, and waits for the lines it prints. */
async function subscription(args, act, has) {
  const child = spawn(foundry('cast'), [...args, '--rpc-url', WS_URL], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines = []
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
  try {
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    const result = await act()
    await until(() => has(lines.join('\n'), result))
  } finally {
    child.kill()
  }
}

let sample

run('cast', {
  'connects over HTTP and WebSocket': async () => {
    assert.equal(BigInt(await rpc(RPC_URL, 'eth_chainId')), BigInt(chainId))
    assert.equal(await cast('chain-id', '--rpc-url', WS_URL), chainId)
    assert.ok(Number(await cast('block-number')) > 0)
    assert.equal(await cast('rpc', 'net_version'), `"${chainId}"`)
  },
  'reads balances and nonces': async () => {
    assert.ok(BigInt(await cast('balance', account.address)) > parseEther('50'))
    assert.deepEqual([await cast('balance', stranger), await cast('code', stranger), await nonceNow()], ['0', '0x', 0])
  },
  'deploys a contract with constructor arguments and value': async () => {
    sample = await deploy('Sample', 'constructor(uint256,string)', [5, 'five'], ['--value', '9'])
    assert.equal(sample.toLowerCase(), getContractAddress({ from: account.address, nonce: 0n }).toLowerCase())
    assert.equal(Number(await cast('codesize', sample)), size(artifact('Sample').deployedBytecode))
    assert.deepEqual(
      [await cast('call', sample, 'value()(uint256)'), await cast('call', sample, 'label()(string)')],
      ['5', '"five"'],
    )
    assert.equal(await cast('call', sample, 'owner()(address)'), account.address)
  },
  'calls with structs, bytes and text': async () => {
    const types = '((int128,uint64,string)[],bytes,bool)'
    const answer = await cast('call', sample, `echo${types}${types}`, '[(-7,18446744073709551615,"ünï")]', '0x00ff', 'true')
    assert.match(answer, /-7, 18446744073709551615.*ünï[^]*0x00ff[^]*true/)
  },
  'sends an EIP-1559 transaction': async () => {
    const receipt = await send(
      sample,
      'set(uint256,string)',
      '7',
      'seven',
      '--gas-price',
      '50gwei',
      '--priority-gas-price',
      '1gwei',
    )
    assert.deepEqual([receipt.status, receipt.type, receipt.logs.length], ['0x1', '0x2', 1])
    const transaction = await json('tx', receipt.transactionHash)
    assert.deepEqual(
      [BigInt(transaction.maxFeePerGas), BigInt(transaction.maxPriorityFeePerGas)],
      [50_000_000_000n, 1_000_000_000n],
    )
    assert.equal(await cast('call', sample, 'value()(uint256)'), '7')
  },
  'sends an EIP-2930 transaction with the access list that the node makes': async () => {
    const receipt = await send(sample, 'set(uint256,string)', '8', 'eight', '--legacy', '--access-list')
    assert.deepEqual([receipt.status, receipt.type], ['0x1', '0x1'])
    const { accessList } = await json('tx', receipt.transactionHash)
    assert.ok(
      accessList.some(
        ({ address, storageKeys }) => address.toLowerCase() === sample.toLowerCase() && storageKeys.includes(pad('0x00')),
      ),
    )
  },
  'sends a legacy transaction': async () => {
    const receipt = await send(sample, 'set(uint256,string)', '9', 'nine', '--legacy', '--gas-price', '20gwei')
    assert.deepEqual([receipt.status, receipt.type, BigInt(receipt.effectiveGasPrice)], ['0x1', '0x0', 20_000_000_000n])
  },
  'delegates an account to code (EIP-7702)': async () => {
    const code = await deploy('Batch')
    const authority = privateKeyToAccount(key(1)).address
    await send(authority, '--value', '1ether')
    const signed = await cast('wallet', 'sign-auth', code, '--private-key', key(1))
    const receipt = await send(authority, '--auth', signed)
    assert.deepEqual([receipt.status, receipt.type], ['0x1', '0x4'])
    assert.equal(await cast('code', authority), concat(['0xef0100', code]).toLowerCase())
    const executed = await json(
      'send',
      '--private-key',
      key(1),
      authority,
      'execute((address,uint256,bytes)[])',
      `[(${sample},3,0x)]`,
    )
    assert.deepEqual([executed.status, executed.logs.length], ['0x1', 2])
  },
  'gets logs by signature and indexed argument': async () => {
    const { blockNumber } = await send(sample, 'setMany(uint256,uint256)', '100', '5')
    const event = 'Changed(address indexed by, uint256 indexed previous, uint256 value, string note)'
    const from = ['--address', sample, '--from-block', Number(blockNumber)]
    assert.equal((await json('logs', ...from, event)).length, 5)
    assert.equal((await json('logs', ...from, event, account.address, '101')).length, 1)
    assert.equal((await json('logs', ...from, event, stranger)).length, 0)
  },
  'subscribes to logs': async () => {
    const args = ['logs', '--subscribe', '--address', sample, 'Changed(address indexed,uint256 indexed,uint256,string)']
    await subscription(
      args,
      () => send(sample, 'setMany(uint256,uint256)', '400', '1'),
      (text, { transactionHash }) => text.includes(transactionHash),
    )
  },
  'decodes reverts with a reason': async () => {
    assert.match(await refusal(cast('call', sample, 'failReason(string)', 'because')), /execution reverted: because/)
    assert.match(await refusal(send(sample, 'failReason(string)', 'because')), /execution reverted: because/)
  },
  'decodes custom errors': async () => {
    const decoded = async (signature, ...call) => {
      const [, data] = /data: "(0x[0-9a-f]+)"/.exec(await refusal(cast('call', '--from', stranger, sample, ...call)))
      return (await cast('decode-error', '--sig', signature, data)).split('\n')
    }
    assert.deepEqual(await decoded('TooLarge(uint256,uint256)', 'set(uint256,string)', '10000000', ''), [
      '10000000 [1e7]',
      '1000000 [1e6]',
    ])
    assert.deepEqual(await decoded('NotOwner(address,string)', 'failCustom()'), [stranger, '"ask the owner"'])
  },
  'decodes panics': async () => {
    const calls = [
      [['failAssert()'], '(0x)?0*1\\b'],
      [['add(uint256,uint256)', MAX, '1'], '0x11|17'],
      [['divide(uint256,uint256)', '1', '0'], '0x12|18'],
    ]
    for (const [call, code] of calls)
      assert.match(await refusal(cast('call', sample, ...call)), new RegExp(`panic.*(${code})`, 'i'))
  },
  'gets the receipt of a transaction that reverts': async () => {
    const hash = await cast(
      'send',
      '--async',
      '--private-key',
      PRIVATE_KEY,
      sample,
      'set(uint256,string)',
      '10000000',
      '',
      '--gas-limit',
      '100000',
    )
    const receipt = await json('receipt', hash)
    assert.deepEqual([receipt.status, receipt.logs], ['0x0', []])
  },
  'estimates gas, and tells why it cannot': async () => {
    assert.equal(await cast('estimate', '--from', account.address, stranger, '--value', '1'), '21000')
    assert.ok(Number(await cast('estimate', '--from', account.address, sample, 'setMany(uint256,uint256)', '1', '20')) > 50_000)
    assert.match(await refusal(cast('estimate', sample, 'failReason(string)', 'no estimate')), /no estimate/)
  },
  'refuses a nonce that is too low': async () => {
    assert.match(await refusal(send(stranger, '--nonce', '0', '--gas-limit', '21000')), /nonce too low/i)
  },
  'refuses an underpriced replacement and takes a better one': async () => {
    const nonce = await nonceNow()
    const next = (percent) =>
      cast(
        'send',
        '--async',
        '--private-key',
        PRIVATE_KEY,
        stranger,
        '--nonce',
        nonce + 1,
        '--gas-limit',
        '21000',
        '--gas-price',
        `${percent}gwei`,
        '--priority-gas-price',
        `${percent}00000`,
      )
    await next(100)
    // geth asks for a tenth more, anvil for no less.
    assert.match(await refusal(next(isAnvil ? 99 : 109)), /replacement transaction underpriced/i)
    const better = await next(125)
    await send(stranger, '--nonce', nonce, '--value', '4')
    assert.equal((await json('receipt', better)).status, '0x1')
  },
  'refuses what the account cannot pay': async () => {
    // What is taken although it should be refused is in the way of what its sender sends next.
    await send(privateKeyToAccount(key(51)).address, '--value', '1ether')
    const poor = cast('send', '--private-key', key(51), stranger, '--value', '1000000000000ether', '--gas-limit', '21000')
    assert.match(await refusal(poor), /insufficient funds/i)
  },
  'reads fees': async () => {
    assert.ok(Number(await cast('gas-price')) > 0)
    assert.ok(Number(await cast('base-fee')) > 0)
    const history = JSON.parse(await cast('rpc', 'eth_feeHistory', '0x3', 'latest', '[50]'))
    assert.equal(history.baseFeePerGas.length, 4)
  },
  'gets proofs that an independent library verifies': async () => {
    const { number, stateRoot } = await json('block', 'latest')
    const proof = await json('proof', sample, '0x0', '0x99', '--block', Number(number))
    assert.ok(await verifyProof(stateRoot, proof))
    assert.deepEqual(
      proof.storageProof.map(({ value }) => BigInt(value) > 0n),
      [true, false],
    )
  },
  'reads storage, and state of earlier blocks': async () => {
    const { blockNumber } = await send(sample, 'set(uint256,string)', '78', 'then')
    await send(sample, 'set(uint256,string)', '79', 'now')
    assert.equal(await cast('call', sample, 'value()(uint256)', '--block', Number(blockNumber)), '78')
    assert.equal(await cast('storage', sample, '0'), pad('0x4f'))
    assert.equal(await cast('storage', sample, '0', '--block', Number(blockNumber)), pad('0x4e'))
  },
  'replays and traces a transaction': async () => {
    const factory = await deploy('Factory')
    const { transactionHash } = await send(factory, 'create(uint256,string)', '1', 'one', '--value', '5')
    const replayed = await cast('run', transactionHash, '--quick')
    assert.match(replayed, /Transaction successfully executed/)
    assert.match(replayed, /new .*@/)
    const full = await cast('run', transactionHash)
    assert.match(full, /Transaction successfully executed/)
    const trace = JSON.parse(await cast('rpc', 'debug_traceTransaction', transactionHash, '{"tracer":"callTracer"}'))
    assert.deepEqual(
      trace.calls.map(({ type }) => type),
      ['CREATE'],
    )
    const local = await cast('call', '--trace', sample, 'readOther(address)(uint256)', sample)
    assert.match(local, /staticcall/)
  },
  'reads many values in one call through Multicall3': async () => {
    const data = await Promise.all(['value()', 'label()'].map((signature) => cast('calldata', signature)))
    const calls = `[(${sample},true,${data[0]}),(${sample},true,${data[1]}),(${sample},true,0x12345678)]`
    const [answers] = await json(
      'call',
      PREDEPLOYS.multicall3.address,
      'aggregate3((address,bool,bytes)[])((bool,bytes)[])',
      calls,
    )
    assert.match(JSON.stringify(answers), /true.*4f.*true.*66697665.*false/)
  },
  'creates contracts through the CREATE2 deployer': async () => {
    const salt = keccak256(PRIVATE_KEY)
    const code = await creation('Sample', 'constructor(uint256,string)', '3', 'salted')
    const { address: from } = PREDEPLOYS.create2Deployer
    assert.equal((await send(from, concat([salt, code]))).status, '0x1')
    assert.equal(await cast('call', getCreate2Address({ from, salt, bytecode: code }), 'label()(string)'), '"salted"')
  },
  'pays with a signature through Permit2': async () => {
    const token = await deploy('Token', 'constructor(uint256)', [10n ** 12n])
    const { address: permit2 } = PREDEPLOYS.permit2
    const spender = privateKeyToAccount(key(2)).address
    await send(spender, '--value', '1ether')
    await send(token, 'approve(address,uint256)', permit2, MAX)
    const field = (name, type) => ({ name, type })
    const typed = {
      types: {
        EIP712Domain: [field('name', 'string'), field('chainId', 'uint256'), field('verifyingContract', 'address')],
        ...PERMIT_TYPES,
      },
      primaryType: 'PermitTransferFrom',
      domain: { name: 'Permit2', chainId: Number(chainId), verifyingContract: permit2 },
      message: { permitted: { token, amount: '500' }, spender, nonce: '7', deadline: `${MAX}` },
    }
    const signature = await cast('wallet', 'sign', '--private-key', PRIVATE_KEY, '--data', JSON.stringify(typed))
    const spend = [
      permit2,
      'permitTransferFrom(((address,uint256),uint256,uint256),(address,uint256),address,bytes)',
      `((${token},500),7,${MAX})`,
      `(${stranger},400)`,
      account.address,
      signature,
    ]
    assert.equal((await json('send', '--private-key', key(2), ...spend)).status, '0x1')
    assert.equal(await cast('erc20', 'balance', token, stranger).then((text) => text.split(' ')[0]), '400')
    assert.match(await refusal(cast('call', '--from', spender, ...spend)), /0x756688fe|InvalidNonce/)
  },
  'understands block tags': async () => {
    const tags = ['earliest', 'finalized', 'safe', 'latest']
    const numbers = await Promise.all(tags.map(async (tag) => Number(await cast('block', tag, '--field', 'number'))))
    assert.equal(numbers[0], 0)
    assert.deepEqual(
      numbers,
      [...numbers].sort((a, b) => a - b),
    )
    await cast('balance', account.address, '--block', 'pending')
  },
  'reads blocks, receipts and times': async () => {
    const { blockNumber, transactionHash } = await send(stranger, '--value', '1')
    const block = await json('block', Number(blockNumber), '--full')
    assert.ok(block.transactions.some(({ hash }) => hash === transactionHash))
    assert.ok((await cast('age', Number(blockNumber))).length > 5)
    assert.ok(Number(await cast('find-block', Number(block.timestamp))) <= Number(blockNumber))
    assert.match(await refusal(cast('tx', keccak256('0x'))), /not found/i)
  },
  'goes on without ENS': async () => {
    await refusal(cast('resolve-name', 'nobody.eth'))
    assert.equal(await cast('chain-id'), chainId)
  },
  'sends 48 kB of calldata': async () => {
    const receipt = await send(sample, 'sum(bytes)', `0x${'00000001'.repeat(12_000)}`)
    assert.equal(receipt.status, '0x1')
  },
  'transfers to itself': async () => {
    const before = BigInt(await cast('balance', account.address))
    const { gasUsed, effectiveGasPrice } = await send(account.address, '--value', '1ether')
    assert.equal(BigInt(await cast('balance', account.address)), before - BigInt(gasUsed) * BigInt(effectiveGasPrice))
  },
  'has several transactions of one sender in flight': async () => {
    const nonce = await nonceNow()
    const hashes = await Promise.all(
      Array.from({ length: 6 }, (_, i) =>
        cast(
          'send',
          '--async',
          '--private-key',
          PRIVATE_KEY,
          stranger,
          '--value',
          i,
          '--nonce',
          nonce + i,
          '--gas-limit',
          '21000',
        ),
      ),
    )
    const receipts = await Promise.all(hashes.map((hash) => json('receipt', hash)))
    assert.ok(receipts.every(({ status }) => status === '0x1'))
    assert.equal(await nonceNow(), nonce + 6)
  },
})
