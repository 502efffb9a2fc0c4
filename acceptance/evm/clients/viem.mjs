// viem against the node.

import assert from 'node:assert/strict'
import {
  BaseError,
  ContractFunctionRevertedError,
  EstimateGasExecutionError,
  InsufficientFundsError,
  IntrinsicGasTooLowError,
  NonceTooLowError,
  TipAboveFeeCapError,
  concat,
  createPublicClient,
  createWalletClient,
  decodeErrorResult,
  decodeFunctionResult,
  encodeAbiParameters,
  encodeFunctionData,
  getContract,
  getContractAddress,
  getCreate2Address,
  http,
  keccak256,
  maxUint256,
  numberToHex,
  pad,
  parseAbi,
  parseEther,
  parseEventLogs,
  parseGwei,
  size,
  webSocket,
  zeroAddress,
} from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { run, until } from '../lib/check.mjs'
import { PRIVATE_KEY, RPC_URL, WS_URL, artifact } from '../lib/env.mjs'
import { PERMIT2_ABI, PERMIT_TYPES, PREDEPLOYS } from '../lib/predeploys.mjs'
import { verifyProof } from '../lib/proof.mjs'
import { post, rpc } from '../lib/rpc.mjs'

const [Sample, Factory, Token, Batch] = ['Sample', 'Factory', 'Token', 'Batch'].map(artifact)
const GWEI = 10n ** 9n
const chain = {
  id: Number(await rpc(RPC_URL, 'eth_chainId')),
  name: 'under test',
  nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
  rpcUrls: { default: { http: [RPC_URL], webSocket: [WS_URL] } },
  contracts: { multicall3: { address: PREDEPLOYS.multicall3.address } },
}
const options = { chain, pollingInterval: 25, cacheTime: 0 }
const client = createPublicClient({ ...options, transport: http() })
const socket = createPublicClient({ ...options, transport: webSocket() })
const account = privateKeyToAccount(PRIVATE_KEY)
const wallet = createWalletClient({ ...options, account, transport: http() })
/** Other accounts of this run. */
const other = (n) => privateKeyToAccount(keccak256(concat([PRIVATE_KEY, numberToHex(n)])))
const stranger = other(99).address

const receiptOf = async (hash) => client.waitForTransactionReceipt({ hash: await hash })
const send = (request) => receiptOf(wallet.sendTransaction(request))
const write = (functionName, args, fields = {}) =>
  receiptOf(wallet.writeContract({ address: sample, abi: Sample.abi, functionName, args, ...fields }))
const read = (functionName, args = [], fields = {}) =>
  client.readContract({ address: sample, abi: Sample.abi, functionName, args, ...fields })
const raw = (method, ...params) => client.request({ method, params })

async function deploy({ abi, bytecode }, args = [], fields = {}) {
  const receipt = await receiptOf(wallet.deployContract({ abi, bytecode, args, ...fields }))
  assert.equal(receipt.status, 'success')
  return receipt
}

/** Another account with funds: what is taken although it should be refused is in the way of what its sender sends next. */
async function spare(n) {
  await send({ to: other(n).address, value: parseEther('1') })
  return createWalletClient({ ...options, account: other(n), transport: http() })
}

/** The error of this class among the causes of what `promise` fails with. */
async function refusal(promise, kind) {
  const error = await Promise.resolve(promise).then(
    () => assert.fail('it was accepted'),
    (caught) => caught,
  )
  const found = error instanceof BaseError && error.walk((cause) => cause instanceof kind)
  assert.ok(found, `not a ${kind.name}: ${error.stack}`)
  return found
}

/** What a contract reverts with, as viem decodes it. */
const revert = (promise) => refusal(promise, ContractFunctionRevertedError)

const isAnvil = /anvil/i.test(await rpc(RPC_URL, 'web3_clientVersion'))
let sample

/** Collects what a watch delivers. */
function watch(start) {
  const seen = []
  const errors = []
  const stop = start({ onError: (error) => errors.push(error), push: (...values) => seen.push(...values) })
  const wait = async (has) => {
    await until(() => errors.length || has(seen))
    if (errors.length) throw errors[0]
  }
  return { seen, stop, wait }
}

/** A subscription is asked for in the background: waits until the node has it. */
const subscribed = () => socket.getChainId().then(() => new Promise((resolve) => setTimeout(resolve, 100)))

run('viem', {
  'connects over HTTP and WebSocket': async () => {
    assert.equal(await client.getChainId(), chain.id)
    assert.equal(await socket.getChainId(), chain.id)
    assert.ok((await client.getBlockNumber()) > 0n)
    assert.match(await raw('web3_clientVersion'), /./)
    assert.equal(await raw('net_version'), `${chain.id}`)
    assert.equal(await raw('eth_syncing'), false)
  },
  'reads balances and nonces': async () => {
    assert.ok((await client.getBalance({ address: account.address })) > parseEther('50'))
    assert.equal(await client.getBalance({ address: stranger }), 0n)
    assert.equal(await client.getTransactionCount(account), 0)
    assert.equal(await client.getCode({ address: stranger }), undefined)
  },
  'finds the predeploys': async () => {
    const { create2Deployer, multicall3, permit2 } = PREDEPLOYS
    for (const { address, runtimeCode } of [create2Deployer, multicall3])
      assert.equal(await client.getCode({ address }), runtimeCode)
    assert.ok(await client.getCode({ address: permit2.address }), 'no Permit2')
  },
  'deploys a contract with constructor arguments and value': async () => {
    const receipt = await deploy(Sample, [5n, 'five'], { value: 9n })
    sample = receipt.contractAddress
    assert.equal(receipt.to, null)
    assert.equal(sample.toLowerCase(), getContractAddress({ from: account.address, nonce: 0n }).toLowerCase())
    assert.equal(size(await client.getCode({ address: sample })), size(Sample.deployedBytecode))
    assert.equal(await client.getBalance({ address: sample }), 9n)
    const contract = getContract({ address: sample, abi: Sample.abi, client })
    assert.deepEqual(await Promise.all([contract.read.value(), contract.read.label(), contract.read.owner()]), [
      5n,
      'five',
      account.address,
    ])
  },
  'calls with structs, bytes and text': async () => {
    const points = [
      { x: -(2n ** 127n), y: 2n ** 64n - 1n, label: 'ünï☃' },
      { x: 0n, y: 0n, label: '' },
    ]
    assert.deepEqual(await read('echo', [points, '0x00ff', true]), [points, '0x00ff', true])
  },
  'simulates a transaction and then sends it': async () => {
    const { request, result } = await client.simulateContract({
      account,
      address: sample,
      abi: Sample.abi,
      functionName: 'set',
      args: [6n, 'six'],
    })
    assert.equal(result, 5n)
    assert.equal((await receiptOf(wallet.writeContract(request))).status, 'success')
    assert.equal(await read('value'), 6n)
  },
  'sends an EIP-1559 transaction': async () => {
    const fees = { maxFeePerGas: parseGwei('50'), maxPriorityFeePerGas: parseGwei('1') }
    const receipt = await write('set', [7n, 'seven'], fees)
    const transaction = await client.getTransaction({ hash: receipt.transactionHash })
    const { baseFeePerGas } = await client.getBlock({ blockHash: receipt.blockHash })
    assert.deepEqual([receipt.status, receipt.type, transaction.type], ['success', 'eip1559', 'eip1559'])
    assert.deepEqual([transaction.maxFeePerGas, transaction.maxPriorityFeePerGas], [fees.maxFeePerGas, fees.maxPriorityFeePerGas])
    assert.equal(receipt.effectiveGasPrice, baseFeePerGas + fees.maxPriorityFeePerGas)
    const [{ args }] = parseEventLogs({ abi: Sample.abi, eventName: 'Changed', logs: receipt.logs })
    assert.deepEqual(args, { by: account.address, previous: 6n, value: 7n, note: 'seven' })
  },
  'sends an EIP-2930 transaction': async () => {
    const accessList = [{ address: sample, storageKeys: [pad('0x00'), pad('0x01')] }]
    const receipt = await write('set', [8n, 'eight'], { type: 'eip2930', gasPrice: parseGwei('20'), accessList })
    const transaction = await client.getTransaction({ hash: receipt.transactionHash })
    assert.deepEqual([receipt.status, receipt.type, transaction.type], ['success', 'eip2930', 'eip2930'])
    assert.deepEqual(transaction.accessList, [{ ...accessList[0], address: sample.toLowerCase() }])
    assert.equal(receipt.effectiveGasPrice, parseGwei('20'))
  },
  'sends a legacy transaction': async () => {
    const receipt = await write('set', [9n, 'nine'], { type: 'legacy', gasPrice: parseGwei('20') })
    const transaction = await client.getTransaction({ hash: receipt.transactionHash })
    assert.deepEqual(
      [receipt.status, receipt.type, transaction.type, transaction.chainId],
      ['success', 'legacy', 'legacy', chain.id],
    )
    assert.equal(transaction.gasPrice, parseGwei('20'))
  },
  'sends a transaction and waits for it in one request (EIP-7966)': async () => {
    const receipt = await wallet.sendTransactionSync({ to: stranger, value: 1n })
    assert.equal(receipt.status, 'success')
    assert.equal((await client.getTransactionReceipt({ hash: receipt.transactionHash })).blockHash, receipt.blockHash)
  },
  'delegates an account to code and back (EIP-7702)': async () => {
    const { contractAddress: code } = await deploy(Batch)
    const authority = other(1)
    // No multiple of a price of gas: see the estimate below.
    await send({ to: authority.address, value: parseEther('1') + 12_345n })
    const authorize = async (contractAddress, fields = {}) =>
      wallet.signAuthorization({ account: authority, contractAddress, ...fields })
    const sponsored = await send({ to: authority.address, authorizationList: [await authorize(code)] })
    assert.deepEqual([sponsored.status, sponsored.type], ['success', 'eip7702'])
    assert.equal(await client.getCode({ address: authority.address }), concat(['0xef0100', code]).toLowerCase())
    const transaction = await client.getTransaction({ hash: sponsored.transactionHash })
    assert.equal(transaction.authorizationList[0].address.toLowerCase(), code.toLowerCase())
    // The account calls itself, so that one transaction makes two calls.
    const set = encodeFunctionData({ abi: Sample.abi, functionName: 'set', args: [10n, 'batch'] })
    const calls = [
      { to: sample, value: 3n, data: '0x' },
      { to: sample, value: 0n, data: set },
    ]
    const receipt = await receiptOf(
      createWalletClient({ ...options, account: authority, transport: http() }).writeContract({
        address: authority.address,
        abi: Batch.abi,
        functionName: 'execute',
        args: [calls],
      }),
    )
    const events = parseEventLogs({ abi: [...Sample.abi, ...Batch.abi], logs: receipt.logs })
    assert.deepEqual(
      events.map(({ eventName }) => eventName),
      ['Received', 'Changed', 'Executed'],
    )
    assert.equal(events[1].args.by, authority.address)
    await send({ to: authority.address, authorizationList: [await authorize(zeroAddress)] })
    assert.equal(await client.getCode({ address: authority.address }), undefined)
  },
  'estimates gas for an account that spends its own funds (EIP-7702)': async () => {
    const { contractAddress: code } = await deploy(Batch)
    const spender = other(4)
    await send({ to: spender.address, value: parseEther('1') })
    await send({
      to: spender.address,
      authorizationList: [await wallet.signAuthorization({ account: spender, contractAddress: code })],
    })
    // The most gas that the funds allow follows from the highest fee, not from what gas costs now; so some funds are left.
    const { baseFeePerGas } = await client.getBlock({ blockTag: 'pending' })
    const data = encodeFunctionData({
      abi: Batch.abi,
      functionName: 'execute',
      args: [[{ to: stranger, value: 3n, data: '0x' }]],
    })
    const fees = { maxFeePerGas: parseGwei('200'), maxPriorityFeePerGas: parseGwei('100') - baseFeePerGas }
    assert.ok((await client.estimateGas({ account: spender, to: spender.address, data, ...fees })) > 30_000n)
  },
  'gets logs by event, indexed argument, range and block': async () => {
    const first = await write('setMany', [100n, 5n])
    const second = await write('setMany', [200n, 2n])
    const query = { address: sample, event: Sample.abi.find(({ name }) => name === 'Changed'), strict: true }
    const range = { fromBlock: first.blockNumber, toBlock: second.blockNumber }
    const all = await client.getLogs({ ...query, ...range })
    assert.deepEqual(
      all.map(({ args }) => args.value),
      [100n, 101n, 102n, 103n, 104n, 200n, 201n],
    )
    assert.ok(all.every((log) => log.removed === false && log.blockHash && log.transactionHash))
    const one = await client.getLogs({ ...query, args: { previous: [101n, 103n] }, ...range })
    assert.deepEqual(
      one.map(({ args }) => args.value),
      [102n, 104n],
    )
    assert.deepEqual(await client.getLogs({ ...query, args: { by: stranger }, ...range }), [])
    assert.equal((await client.getLogs({ ...query, blockHash: second.blockHash })).length, 2)
    assert.equal((await client.getLogs({ address: [sample, stranger], ...range })).length, 7)
    assert.deepEqual(await client.getLogs({ address: stranger, ...range }), [])
    const events = await client.getContractEvents({ address: sample, abi: Sample.abi, eventName: 'Changed', ...range })
    assert.deepEqual(
      events.map(({ logIndex }) => logIndex),
      [0, 1, 2, 3, 4, 0, 1],
    )
  },
  'uses filters of events, blocks and pending transactions': async () => {
    const events = await client.createContractEventFilter({ address: sample, abi: Sample.abi, eventName: 'Changed' })
    const blocks = await client.createBlockFilter()
    const pending = await client.createPendingTransactionFilter()
    const receipt = await write('setMany', [300n, 3n])
    const changes = await client.getFilterChanges({ filter: events })
    assert.deepEqual(
      changes.map(({ args }) => args.value),
      [300n, 301n, 302n],
    )
    assert.deepEqual(await client.getFilterChanges({ filter: events }), [])
    assert.equal((await client.getFilterLogs({ filter: events })).length, 3)
    assert.ok((await client.getFilterChanges({ filter: blocks })).includes(receipt.blockHash))
    assert.ok((await client.getFilterChanges({ filter: pending })).includes(receipt.transactionHash))
    assert.equal(await client.uninstallFilter({ filter: events }), true)
    assert.equal(await client.uninstallFilter({ filter: events }), false)
    await refusal(client.getFilterChanges({ filter: events }), BaseError)
  },
  'subscribes to new heads': async () => {
    const heads = watch(({ push, onError }) => socket.watchBlocks({ onBlock: push, onError }))
    await subscribed()
    const { blockNumber, blockHash } = await send({ to: stranger, value: 1n })
    await heads.wait((seen) => seen.some(({ number }) => number >= blockNumber))
    const head = heads.seen.find(({ number }) => number === blockNumber)
    heads.stop()
    assert.equal(head.hash, blockHash)
    assert.ok(head.gasLimit > 0n && head.timestamp > 0n && head.baseFeePerGas > 0n)
  },
  'subscribes to logs': async () => {
    const logs = watch(({ push, onError }) =>
      socket.watchContractEvent({
        address: sample,
        abi: Sample.abi,
        eventName: 'Changed',
        args: { by: account.address },
        onLogs: (all) => push(...all),
        onError,
      }),
    )
    await subscribed()
    const { transactionHash } = await write('setMany', [400n, 3n])
    await logs.wait((seen) => seen.length >= 3)
    logs.stop()
    assert.deepEqual(
      logs.seen.map(({ args, transactionHash: hash }) => [args.value, hash]),
      [400n, 401n, 402n].map((value) => [value, transactionHash]),
    )
  },
  'subscribes to pending transactions': async () => {
    const pending = watch(({ push, onError }) =>
      socket.watchPendingTransactions({ onTransactions: (all) => push(...all), onError }),
    )
    await subscribed()
    const { transactionHash } = await send({ to: stranger, value: 1n })
    await pending.wait((seen) => seen.includes(transactionHash))
    pending.stop()
  },
  'decodes reverts with a reason': async () => {
    assert.equal((await revert(read('failReason', ['because: ☃']))).reason, 'because: ☃')
  },
  'decodes custom errors': async () => {
    const { data } = await revert(
      client.simulateContract({ account, address: sample, abi: Sample.abi, functionName: 'set', args: [10n ** 7n, ''] }),
    )
    assert.deepEqual([data.errorName, data.args], ['TooLarge', [10n ** 7n, 10n ** 6n]])
    const { data: owner } = await revert(read('failCustom', [], { account: stranger }))
    assert.deepEqual([owner.errorName, owner.args], ['NotOwner', [stranger, 'ask the owner']])
  },
  'decodes panics': async () => {
    const panics = [
      ['failAssert', [], 0x01n],
      ['add', [maxUint256, 1n], 0x11n],
      ['divide', [1n, 0n], 0x12n],
      ['numberAt', [7n], 0x32n],
    ]
    for (const [name, args, code] of panics) {
      const { data } = await revert(read(name, args))
      assert.deepEqual([data.errorName, data.args], ['Panic', [code]])
    }
  },
  'sees a revert without data': async () => {
    const { data, signature } = await revert(read('failEmpty'))
    assert.deepEqual([data, signature], [undefined, undefined])
  },
  'gets the receipt of a transaction that reverts': async () => {
    const receipt = await write('set', [10n ** 7n, ''], { gas: 100_000n })
    assert.deepEqual([receipt.status, receipt.logs], ['reverted', []])
    const spent = await write('spin', [], { gas: 150_000n })
    assert.deepEqual([spent.status, spent.gasUsed], ['reverted', 150_000n])
  },
  'estimates gas': async () => {
    assert.equal(await client.estimateGas({ account, to: stranger, value: 1n }), 21_000n)
    const gas = await client.estimateContractGas({
      account,
      address: sample,
      abi: Sample.abi,
      functionName: 'setMany',
      args: [1n, 20n],
    })
    const receipt = await write('setMany', [1n, 20n], { gas })
    assert.equal(receipt.status, 'success')
    assert.ok(gas <= (receipt.gasUsed * 11n) / 10n, `estimated ${gas}, used ${receipt.gasUsed}`)
  },
  'refuses to estimate what reverts, with the reason': async () => {
    const estimate = (functionName, args) =>
      client.estimateContractGas({ account, address: sample, abi: Sample.abi, functionName, args })
    assert.equal((await revert(estimate('failReason', ['no estimate']))).reason, 'no estimate')
    assert.equal((await revert(estimate('set', [10n ** 7n, '']))).data.errorName, 'TooLarge')
    await refusal(client.estimateGas({ account, to: sample, data: '0x00', value: 10n ** 30n }), EstimateGasExecutionError)
  },
  'refuses a nonce that is too low': async () => {
    await refusal(wallet.sendTransaction({ to: stranger, nonce: 0, gas: 21_000n }), NonceTooLowError)
  },
  'refuses an underpriced replacement and takes a better one': async () => {
    const nonce = await client.getTransactionCount(account)
    const fees = (percent) => ({
      maxFeePerGas: (100n * GWEI * percent) / 100n,
      maxPriorityFeePerGas: (2n * GWEI * percent) / 100n,
    })
    const next = (value, percent) =>
      wallet.sendTransaction({ to: stranger, value, gas: 21_000n, nonce: nonce + 1, ...fees(percent) })
    const replaced = await next(1n, 100n)
    // geth asks for a tenth more, anvil for no less.
    const error = await refusal(next(2n, isAnvil ? 99n : 109n), BaseError)
    assert.match(error.message, /replacement transaction underpriced/i)
    const better = await next(3n, 125n)
    await send({ to: stranger, value: 4n, nonce })
    assert.equal((await receiptOf(better)).status, 'success')
    assert.equal(await client.getTransaction({ hash: replaced }).catch(() => undefined), undefined)
  },
  'refuses what the account cannot pay': async () => {
    const sender = await spare(51)
    await refusal(sender.sendTransaction({ to: stranger, value: 10n ** 30n, gas: 21_000n }), InsufficientFundsError)
    const poor = createWalletClient({ ...options, account: other(50), transport: http() })
    await refusal(poor.sendTransaction({ to: stranger, gas: 21_000n }), InsufficientFundsError)
  },
  'refuses gas and fees out of range': async () => {
    const sender = await spare(52)
    await refusal(sender.sendTransaction({ to: stranger, gas: 20_999n }), IntrinsicGasTooLowError)
    const { gasLimit } = await client.getBlock()
    const serializedTransaction = await sender.signTransaction({
      type: 'eip1559',
      to: stranger,
      gas: gasLimit + 1n,
      maxFeePerGas: parseGwei('20'),
      nonce: 0,
    })
    await refusal(client.sendRawTransaction({ serializedTransaction }), BaseError)
    await refusal(
      sender.sendTransaction({ to: stranger, gas: 21_000n, maxFeePerGas: 1n, maxPriorityFeePerGas: 2n }),
      TipAboveFeeCapError,
    )
  },
  'refuses another chain and bytes that are no transaction': async () => {
    const { account: sender } = await spare(53)
    const signed = await sender.signTransaction({
      chainId: chain.id + 1,
      type: 'eip1559',
      to: stranger,
      gas: 21_000n,
      maxFeePerGas: parseGwei('50'),
      nonce: 0,
    })
    for (const serializedTransaction of [signed, '0x', '0x02', '0x02c0', '0xdeadbeef', `${signed}00`]) {
      await refusal(client.sendRawTransaction({ serializedTransaction }), BaseError)
    }
  },
  'reads fee history and suggests fees': async () => {
    const blockCount = 4
    const history = await client.getFeeHistory({ blockCount, rewardPercentiles: [10, 50, 90] })
    assert.equal(history.baseFeePerGas.length, blockCount + 1)
    assert.equal(history.gasUsedRatio.length, blockCount)
    assert.deepEqual(
      history.reward.map((row) => row.length),
      Array(blockCount).fill(3),
    )
    assert.ok(history.gasUsedRatio.every((ratio) => ratio >= 0 && ratio <= 1))
    for (let i = 0; i < blockCount; i += 1) {
      const { baseFeePerGas } = await client.getBlock({ blockNumber: history.oldestBlock + BigInt(i) })
      assert.equal(history.baseFeePerGas[i], baseFeePerGas)
    }
    const { baseFeePerGas } = await client.getBlock()
    const { maxFeePerGas, maxPriorityFeePerGas } = await client.estimateFeesPerGas()
    assert.ok(maxFeePerGas >= (baseFeePerGas * 8n) / 10n && maxPriorityFeePerGas >= 0n)
    assert.ok((await client.getGasPrice()) >= (baseFeePerGas * 8n) / 10n)
    assert.ok((await client.getBlobBaseFee()) >= 0n)
  },
  'gets proofs that an independent library verifies': async () => {
    // Slots of value, of the label, and one that is empty; an account that does not exist.
    await write('set', [77n, 'proof'])
    const prove = async (address, slots) => {
      const block = await client.getBlock()
      const proof = await raw('eth_getProof', address, slots, numberToHex(block.number))
      return { exists: await verifyProof(block.stateRoot, proof), proof }
    }
    const { exists, proof } = await prove(sample, [pad('0x00'), pad('0x01'), pad('0x99')])
    assert.ok(exists)
    assert.deepEqual(
      proof.storageProof.map(({ value }) => BigInt(value)).filter((value) => value < 100n),
      [77n, 0n],
    )
    assert.ok((await prove(account.address, [])).exists)
    assert.ok(
      !(
        await prove(
          stranger.replace(/.$/, (x) => (x === '0' ? '1' : '0')),
          [pad('0x00')],
        )
      ).exists,
    )
    const decoded = await client.getProof({ address: sample, storageKeys: [pad('0x00')] })
    assert.equal(decoded.storageProof[0].value, 77n)
  },
  'reads storage, and state of earlier blocks': async () => {
    const { blockNumber } = await write('set', [78n, 'then'])
    await write('set', [79n, 'now'])
    assert.equal(await read('value', [], { blockNumber }), 78n)
    assert.equal(await client.getStorageAt({ address: sample, slot: '0x0', blockNumber }), numberToHex(78n, { size: 32 }))
    assert.equal(await client.getStorageAt({ address: sample, slot: '0x0' }), numberToHex(79n, { size: 32 }))
    assert.ok((await client.getBalance({ address: account.address, blockNumber })) > (await client.getBalance(account)))
    const before = await client.getTransactionCount({ address: account.address, blockNumber })
    assert.equal(await client.getTransactionCount(account), before + 1)
  },
  'creates access lists': async () => {
    const second = (await deploy(Sample, [1n, 'second'])).contractAddress
    const data = encodeFunctionData({ abi: Sample.abi, functionName: 'readOther', args: [second] })
    const { accessList, gasUsed } = await client.createAccessList({ account, to: sample, data })
    const slots = Object.fromEntries(accessList.map(({ address, storageKeys }) => [address.toLowerCase(), storageKeys]))
    assert.deepEqual(slots[second.toLowerCase()], [pad('0x00')])
    assert.deepEqual(slots[sample.toLowerCase()], [pad('0x00')])
    const receipt = await send({ to: sample, data, accessList })
    assert.equal(receipt.status, 'success')
    assert.ok(gasUsed >= receipt.gasUsed, `said ${gasUsed}, used ${receipt.gasUsed}`)
  },
  'traces a transaction with the call tracer': async () => {
    const factory = (await deploy(Factory)).contractAddress
    const { transactionHash, gasUsed } = await receiptOf(
      wallet.writeContract({ address: factory, abi: Factory.abi, functionName: 'create', args: [1n, 'one'], value: 5n }),
    )
    const trace = await raw('debug_traceTransaction', transactionHash, { tracer: 'callTracer', tracerConfig: { withLog: true } })
    assert.deepEqual([trace.type, trace.from, trace.to], ['CALL', account.address.toLowerCase(), factory.toLowerCase()])
    assert.equal(BigInt(trace.gasUsed), gasUsed)
    assert.deepEqual(
      trace.calls.map(({ type, value }) => [type, BigInt(value)]),
      [['CREATE', 5n]],
    )
    assert.equal(trace.logs.length, 1)
    assert.equal(
      decodeFunctionResult({ abi: Factory.abi, functionName: 'create', data: trace.output }).toLowerCase(),
      trace.calls[0].to,
    )
  },
  'traces steps, state before, and calls that revert': async () => {
    const { transactionHash } = await write('set', [10n ** 7n, ''], { gas: 100_000n })
    const failed = await raw('debug_traceTransaction', transactionHash, { tracer: 'callTracer' })
    assert.match(failed.error, /revert/)
    assert.equal(decodeErrorResult({ abi: Sample.abi, data: failed.output }).errorName, 'TooLarge')
    const steps = await raw('debug_traceTransaction', transactionHash, {})
    assert.equal(steps.failed, true)
    assert.equal(steps.structLogs.at(-1).op, 'REVERT')
    assert.deepEqual([steps.structLogs[0].pc, steps.structLogs[0].depth], [0, 1])
    const prestate = await raw('debug_traceTransaction', transactionHash, { tracer: 'prestateTracer' })
    assert.ok(sample.toLowerCase() in prestate && account.address.toLowerCase() in prestate)
    const call = await raw(
      'debug_traceCall',
      { to: sample, data: encodeFunctionData({ abi: Sample.abi, functionName: 'value' }) },
      'latest',
      { tracer: 'callTracer' },
    )
    assert.equal(BigInt(call.output), 79n)
  },
  'reads many values in one call through Multicall3': async () => {
    const call = (functionName, args = []) => ({ address: sample, abi: Sample.abi, functionName, args })
    const answers = await client.multicall({
      contracts: [call('value'), call('failReason', ['inside']), call('label'), call('divide', [7n, 2n])],
    })
    assert.deepEqual(
      answers.map(({ status }) => status),
      ['success', 'failure', 'success', 'success'],
    )
    assert.deepEqual([answers[0].result, answers[2].result, answers[3].result], [79n, 'five', 3n])
    assert.equal(answers[1].error.walk((error) => error instanceof ContractFunctionRevertedError).reason, 'inside')
    const batching = createPublicClient({ ...options, batch: { multicall: true }, transport: http() })
    const reads = Array.from({ length: 30 }, (_, i) => batching.readContract(call('add', [BigInt(i), 1n])))
    assert.deepEqual(
      await Promise.all(reads),
      Array.from({ length: 30 }, (_, i) => BigInt(i + 1)),
    )
  },
  'creates contracts through the CREATE2 deployer': async () => {
    const salt = keccak256(PRIVATE_KEY)
    const bytecode = concat([Sample.bytecode, encodeAbiParameters([{ type: 'uint256' }, { type: 'string' }], [3n, 'salted'])])
    const { address: from } = PREDEPLOYS.create2Deployer
    const address = getCreate2Address({ from, salt, bytecode })
    const { data } = await client.call({ account, to: from, data: concat([salt, bytecode]) })
    assert.equal(data, address.toLowerCase())
    assert.equal((await send({ to: from, data: concat([salt, bytecode]) })).status, 'success')
    assert.equal(await client.readContract({ address, abi: Sample.abi, functionName: 'label' }), 'salted')
  },
  'lets a contract create contracts': async () => {
    const factory = (await deploy(Factory)).contractAddress
    const salt = keccak256('0x01')
    const write = (functionName, args) =>
      receiptOf(wallet.writeContract({ address: factory, abi: Factory.abi, functionName, args, value: 4n }))
    const created = async (receipt) => parseEventLogs({ abi: Factory.abi, logs: receipt.logs })[0].args.sample
    assert.equal(await created(await write('create', [1n, 'a'])), getContractAddress({ from: factory, nonce: 1n }))
    const bytecode = concat([Sample.bytecode, encodeAbiParameters([{ type: 'uint256' }, { type: 'string' }], [2n, 'b'])])
    const child = await created(await write('create2', [2n, 'b', salt]))
    assert.equal(child, getCreate2Address({ from: factory, salt, bytecode }))
    assert.equal(await client.getBalance({ address: child }), 4n)
    assert.equal(await client.getTransactionCount({ address: factory }), 3)
  },
  'pays with a signature through Permit2': async () => {
    const token = (await deploy(Token, [10n ** 12n])).contractAddress
    const { address: permit2 } = PREDEPLOYS.permit2
    const spender = other(2)
    await send({ to: spender.address, value: parseEther('1') })
    await receiptOf(
      wallet.writeContract({ address: token, abi: Token.abi, functionName: 'approve', args: [permit2, maxUint256] }),
    )
    const permit = { permitted: { token, amount: 500n }, nonce: 7n, deadline: maxUint256 }
    const domain = { name: 'Permit2', chainId: chain.id, verifyingContract: permit2 }
    const signature = await wallet.signTypedData({
      domain,
      types: PERMIT_TYPES,
      primaryType: 'PermitTransferFrom',
      message: { ...permit, spender: spender.address },
    })
    const spend = (signed) => ({
      account: spender,
      address: permit2,
      abi: parseAbi(PERMIT2_ABI),
      functionName: 'permitTransferFrom',
      args: [permit, { to: stranger, requestedAmount: 400n }, account.address, signed],
    })
    const forged = signature.replace(/^0x../, signature.startsWith('0x11') ? '0x22' : '0x11')
    assert.match((await revert(client.simulateContract(spend(forged)))).data.errorName, /Invalid/)
    assert.equal((await receiptOf(wallet.writeContract(spend(signature)))).status, 'success')
    assert.equal(await client.readContract({ address: token, abi: Token.abi, functionName: 'balanceOf', args: [stranger] }), 400n)
    assert.equal((await revert(client.simulateContract(spend(signature)))).data.errorName, 'InvalidNonce')
  },
  'sends batches of requests': async () => {
    const batching = createPublicClient({ ...options, transport: http(RPC_URL, { batch: { batchSize: 50, wait: 5 } }) })
    const numbers = await Promise.all(Array.from({ length: 50 }, (_, i) => batching.getBlock({ blockNumber: BigInt(i % 3) })))
    assert.deepEqual(
      numbers.map(({ number }) => number),
      Array.from({ length: 50 }, (_, i) => BigInt(i % 3)),
    )
    const request = (id, method, params = []) => ({ jsonrpc: '2.0', id, method, params })
    const answers = await post(RPC_URL, [
      request(1, 'eth_chainId'),
      request('two', 'eth_noSuchMethod'),
      request(3, 'eth_getBalance', ['0x12']),
    ])
    const byId = Object.fromEntries(answers.map((answer) => [answer.id, answer]))
    assert.equal(BigInt(byId[1].result), BigInt(chain.id))
    assert.deepEqual([byId.two.error.code, byId[3].error.code], [-32601, -32602])
  },
  'understands block tags': async () => {
    const [earliest, finalized, safe, latest, pending] = await Promise.all(
      ['earliest', 'finalized', 'safe', 'latest', 'pending'].map((blockTag) => client.getBlock({ blockTag })),
    )
    assert.equal(earliest.number, 0n)
    assert.ok(finalized.number <= safe.number && safe.number <= latest.number)
    assert.ok(pending.number === null || pending.number >= latest.number)
    for (const blockTag of ['earliest', 'finalized', 'safe', 'latest', 'pending']) {
      assert.ok((await client.getBalance({ address: account.address, blockTag })) >= 0n)
      assert.ok((await client.getTransactionCount({ address: account.address, blockTag })) >= 0)
    }
    assert.equal(await client.getTransactionCount({ address: account.address, blockTag: 'earliest' }), 0)
  },
  'reads blocks in every way, and what is not there': async () => {
    const { blockHash, blockNumber, transactionHash, transactionIndex } = await send({ to: stranger, value: 1n })
    const full = await client.getBlock({ blockHash, includeTransactions: true })
    assert.equal(full.transactions[transactionIndex].hash, transactionHash)
    const parent = await client.getBlock({ blockNumber: blockNumber - 1n })
    assert.equal(full.parentHash, parent.hash)
    assert.equal(await client.getBlockTransactionCount({ blockNumber }), full.transactions.length)
    assert.equal((await client.getTransaction({ blockHash, index: transactionIndex })).hash, transactionHash)
    assert.equal((await client.getTransaction({ blockNumber, index: transactionIndex })).hash, transactionHash)
    const receipts = await raw('eth_getBlockReceipts', numberToHex(blockNumber))
    assert.equal(receipts[transactionIndex].transactionHash, transactionHash)
    const absent = [
      raw('eth_getBlockByNumber', '0xffffffffff', false),
      raw('eth_getBlockByHash', keccak256('0x'), false),
      raw('eth_getTransactionByHash', keccak256('0x')),
      raw('eth_getTransactionReceipt', keccak256('0x')),
    ]
    assert.deepEqual(await Promise.all(absent), [null, null, null, null])
  },
  'goes on without ENS': async () => {
    await refusal(client.getEnsAddress({ name: 'nobody.eth' }), BaseError)
    assert.equal(await client.getChainId(), chain.id)
  },
  'sends 100 kB of calldata': async () => {
    const data = encodeFunctionData({ abi: Sample.abi, functionName: 'sum', args: [`0x${'00000001'.repeat(25_000)}`] })
    const receipt = await send({ to: sample, data })
    assert.equal(receipt.status, 'success')
    assert.equal((await client.getTransaction({ hash: receipt.transactionHash })).input, data)
  },
  'transfers to itself': async () => {
    const before = await client.getBalance(account)
    const { gasUsed, effectiveGasPrice, status } = await send({ to: account.address, value: parseEther('1') })
    assert.equal(status, 'success')
    assert.equal(await client.getBalance(account), before - gasUsed * effectiveGasPrice)
  },
  'overrides state in calls': async () => {
    const value = await read('value')
    const stateOverride = [{ address: sample, stateDiff: [{ slot: pad('0x00'), value: pad('0x2a') }] }]
    assert.equal(await read('value', [], { stateOverride }), 42n)
    const { data } = await client.call({
      account: stranger,
      to: other(3).address,
      value: parseEther('9'),
      stateOverride: [
        { address: stranger, balance: parseEther('10') },
        { address: other(3).address, code: '0x345f5260205ff3' },
      ],
    })
    assert.equal(BigInt(data), parseEther('9'))
    assert.equal(await read('value'), value)
  },
  'sees block facts in calls': async () => {
    const { number } = await client.getBlock()
    const [seen, , chainId] = await read('blockFacts')
    assert.ok(seen >= number && seen <= number + 2n, `${seen} at ${number}`)
    assert.equal(chainId, BigInt(chain.id))
  },
  'has many transactions of one sender in flight': async () => {
    const nonce = await client.getTransactionCount(account)
    const order = Array.from({ length: 20 }, (_, i) => (i < 15 ? i : 34 - i))
    const hashes = []
    for (const i of order) {
      hashes.push(
        await wallet.sendTransaction({
          to: stranger,
          value: BigInt(i),
          gas: 21_000n,
          nonce: nonce + i,
          maxFeePerGas: parseGwei('50'),
          maxPriorityFeePerGas: GWEI,
        }),
      )
    }
    const receipts = await Promise.all(hashes.map(receiptOf))
    assert.ok(receipts.every(({ status }) => status === 'success'))
    assert.equal(await client.getTransactionCount(account), nonce + 20)
    const place = ({ blockNumber, transactionIndex }) => Number(blockNumber) * 10_000 + transactionIndex
    const places = receipts
      .map((receipt, i) => [order[i], place(receipt)])
      .sort(([a], [b]) => a - b)
      .map(([, at]) => at)
    assert.deepEqual(
      places,
      [...places].sort((a, b) => a - b),
    )
  },
})
