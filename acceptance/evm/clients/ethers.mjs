// ethers against the node.

import assert from 'node:assert/strict'
import {
  Contract,
  ContractFactory,
  Interface,
  JsonRpcProvider,
  MaxUint256,
  NonceManager,
  TypedDataEncoder,
  Wallet,
  WebSocketProvider,
  ZeroAddress,
  concat,
  getCreate2Address,
  getCreateAddress,
  id,
  isError,
  keccak256,
  parseEther,
  parseUnits,
  toBeHex,
  zeroPadValue,
} from 'ethers'
import { run, until } from '../lib/check.mjs'
import { PRIVATE_KEY, RPC_URL, WS_URL, artifact } from '../lib/env.mjs'
import { PERMIT2_ABI, PERMIT_TYPES, PREDEPLOYS } from '../lib/predeploys.mjs'
import { verifyProof } from '../lib/proof.mjs'

const [Sample, Factory, Token, Batch] = ['Sample', 'Factory', 'Token', 'Batch'].map(artifact)
const provider = new JsonRpcProvider(RPC_URL, undefined, { cacheTimeout: -1, polling: true, pollingInterval: 25 })
const socket = new WebSocketProvider(WS_URL)
const wallet = new Wallet(PRIVATE_KEY, provider)
/** Other accounts of this run. */
const other = (n) => new Wallet(keccak256(concat([PRIVATE_KEY, toBeHex(n)])), provider)
const stranger = other(99).address
const { chainId } = await provider.getNetwork()
const isAnvil = /anvil/i.test(await provider.send('web3_clientVersion', []))

const send = async (request) => (await wallet.sendTransaction(request)).wait()
const nonceNow = () => provider.getTransactionCount(wallet.address)

async function deploy({ abi, bytecode }, args = [], fields = {}) {
  const contract = await new ContractFactory(abi, bytecode, wallet).deploy(...args, fields)
  return contract.waitForDeployment()
}

/** The error with this code of ethers that `promise` fails with. */
async function refusal(promise, code) {
  const error = await Promise.resolve(promise).then(
    () => assert.fail('it was accepted'),
    (caught) => caught,
  )
  assert.ok(isError(error, code), `not ${code}: ${error.stack}`)
  return error
}

/** What a contract reverts with, as ethers decodes it. */
const revert = (promise) => refusal(promise, 'CALL_EXCEPTION')

/** Listens to `source` until `has` what was delivered. */
async function listen(source, event, act, has) {
  const seen = []
  await source.on(event, (...values) => seen.push(values))
  // The subscription is asked for in the background.
  await socket.getBlockNumber().then(() => new Promise((resolve) => setTimeout(resolve, 100)))
  const result = await act()
  await until(() => has(seen, result))
  await source.off(event)
  return { seen, result }
}

let sample
let address

run('ethers', {
  'connects over HTTP and WebSocket': async () => {
    assert.equal((await socket.getNetwork()).chainId, chainId)
    assert.ok((await provider.getBlockNumber()) > 0)
    assert.ok((await socket.getBlockNumber()) > 0)
  },
  'reads balances and nonces': async () => {
    assert.ok((await provider.getBalance(wallet.address)) > parseEther('50'))
    assert.equal(await provider.getBalance(stranger), 0n)
    assert.equal(await nonceNow(), 0)
    assert.equal(await provider.getCode(stranger), '0x')
  },
  'deploys a contract with constructor arguments and value': async () => {
    sample = await deploy(Sample, [5n, 'five'], { value: 9n })
    address = await sample.getAddress()
    assert.equal(address, getCreateAddress({ from: wallet.address, nonce: 0 }))
    assert.equal((await sample.getDeployedCode()).length, Sample.deployedBytecode.length)
    assert.deepEqual(await Promise.all([sample.value(), sample.label(), sample.owner()]), [5n, 'five', wallet.address])
    assert.equal(await provider.getBalance(address), 9n)
  },
  'calls with structs, bytes and text': async () => {
    const points = [
      [-(2n ** 127n), 2n ** 64n - 1n, 'ünï☃'],
      [0n, 0n, ''],
    ]
    const [back, data, flag] = await sample.echo(points, '0x00ff', true)
    assert.deepEqual([back.map((point) => point.toArray()), data, flag], [points, '0x00ff', true])
  },
  'simulates a transaction and then sends it': async () => {
    assert.equal(await sample.set.staticCall(6n, 'six'), 5n)
    assert.equal((await (await sample.set(6n, 'six')).wait()).status, 1)
    assert.equal(await sample.value(), 6n)
  },
  'sends an EIP-1559 transaction': async () => {
    const fees = { maxFeePerGas: parseUnits('50', 'gwei'), maxPriorityFeePerGas: parseUnits('1', 'gwei') }
    const receipt = await (await sample.set(7n, 'seven', fees)).wait()
    const transaction = await receipt.getTransaction()
    const { baseFeePerGas } = await receipt.getBlock()
    assert.deepEqual([receipt.status, receipt.type, transaction.type], [1, 2, 2])
    assert.deepEqual([transaction.maxFeePerGas, transaction.maxPriorityFeePerGas], [fees.maxFeePerGas, fees.maxPriorityFeePerGas])
    assert.equal(receipt.gasPrice, baseFeePerGas + fees.maxPriorityFeePerGas)
    assert.deepEqual(receipt.logs[0].args.toArray(), [wallet.address, 6n, 7n, 'seven'])
    assert.equal(transaction.hash, receipt.hash)
  },
  'sends an EIP-2930 transaction': async () => {
    const accessList = [{ address, storageKeys: [zeroPadValue('0x00', 32), zeroPadValue('0x01', 32)] }]
    const receipt = await (await sample.set(8n, 'eight', { type: 1, gasPrice: parseUnits('20', 'gwei'), accessList })).wait()
    const transaction = await receipt.getTransaction()
    assert.deepEqual([receipt.status, receipt.type, transaction.type], [1, 1, 1])
    assert.deepEqual(
      transaction.accessList.map(({ address: at, storageKeys }) => ({ address: at, storageKeys })),
      accessList,
    )
  },
  'sends a legacy transaction': async () => {
    const receipt = await (await sample.set(9n, 'nine', { type: 0, gasPrice: parseUnits('20', 'gwei') })).wait()
    const transaction = await receipt.getTransaction()
    assert.deepEqual([receipt.status, receipt.type, transaction.chainId], [1, 0, chainId])
    assert.equal(receipt.gasPrice, parseUnits('20', 'gwei'))
  },
  'delegates an account to code and back (EIP-7702)': async () => {
    const code = await (await deploy(Batch)).getAddress()
    const authority = other(1)
    await send({ to: authority.address, value: parseEther('1') })
    const delegate = async (to) =>
      send({
        type: 4,
        to: authority.address,
        gasLimit: 200_000,
        authorizationList: [await authority.authorize({ address: to, nonce: await authority.getNonce(), chainId })],
      })
    const receipt = await delegate(code)
    assert.deepEqual([receipt.status, receipt.type], [1, 4])
    assert.equal(await provider.getCode(authority.address), concat(['0xef0100', code]))
    const transaction = await receipt.getTransaction()
    assert.equal(transaction.authorizationList[0].address, code)
    const calls = [
      [address, 3n, '0x'],
      [address, 0n, sample.interface.encodeFunctionData('set', [10n, 'batch'])],
    ]
    const executed = await (await new Contract(authority.address, Batch.abi, authority).execute(calls)).wait()
    const names = new Interface([...Sample.abi, ...Batch.abi])
    assert.deepEqual(
      executed.logs.map((log) => names.parseLog(log).name),
      ['Received', 'Changed', 'Executed'],
    )
    await delegate(ZeroAddress)
    assert.equal(await provider.getCode(authority.address), '0x')
  },
  'gets logs by event, indexed argument, range and block': async () => {
    const first = await (await sample.setMany(100n, 5n)).wait()
    const second = await (await sample.setMany(200n, 2n)).wait()
    const range = [first.blockNumber, second.blockNumber]
    const values = async (filter) => (await sample.queryFilter(filter, ...range)).map(({ args }) => args.value)
    assert.deepEqual(await values(sample.filters.Changed()), [100n, 101n, 102n, 103n, 104n, 200n, 201n])
    assert.deepEqual(await values(sample.filters.Changed(null, [101n, 103n])), [102n, 104n])
    assert.deepEqual(await values(sample.filters.Changed(stranger)), [])
    assert.equal((await provider.getLogs({ address, blockHash: second.blockHash })).length, 2)
    assert.equal((await provider.getLogs({ address: [address, stranger], fromBlock: range[0], toBlock: range[1] })).length, 7)
    assert.equal(
      (
        await provider.getLogs({
          topics: [[id('Nothing()'), id('Changed(address,uint256,uint256,string)')]],
          address,
          fromBlock: range[0],
        })
      ).length,
      7,
    )
  },
  'watches events by polling filters': async () => {
    const { seen } = await listen(
      sample,
      'Changed',
      async () => (await sample.setMany(300n, 3n)).wait(),
      (all) => all.length >= 3,
    )
    assert.deepEqual(
      seen.map(([, , value]) => value),
      [300n, 301n, 302n],
    )
  },
  'subscribes to new heads': async () => {
    const { result } = await listen(
      socket,
      'block',
      () => send({ to: stranger, value: 1n }),
      (seen, receipt) => seen.some(([number]) => number === receipt.blockNumber),
    )
    assert.equal((await socket.getBlock(result.blockNumber)).hash, result.blockHash)
  },
  'subscribes to logs': async () => {
    const listening = sample.connect(socket)
    const { seen } = await listen(
      listening,
      'Changed',
      async () => (await sample.setMany(400n, 3n)).wait(),
      (all) => all.length >= 3,
    )
    assert.deepEqual(
      seen.map(([, , value]) => value),
      [400n, 401n, 402n],
    )
  },
  'subscribes to pending transactions': async () => {
    await listen(
      socket,
      'pending',
      () => send({ to: stranger, value: 1n }),
      (seen, receipt) => seen.some(([hash]) => hash === receipt.hash),
    )
  },
  'decodes reverts with a reason': async () => {
    assert.equal((await revert(sample.failReason('because: ☃'))).reason, 'because: ☃')
  },
  'decodes custom errors': async () => {
    const { revert: large } = await revert(sample.set.staticCall(10n ** 7n, ''))
    assert.deepEqual([large.name, large.args.toArray()], ['TooLarge', [10n ** 7n, 10n ** 6n]])
    const { revert: owner } = await revert(sample.connect(provider).failCustom({ from: stranger }))
    assert.deepEqual([owner.name, owner.args.toArray()], ['NotOwner', [stranger, 'ask the owner']])
  },
  'decodes panics': async () => {
    const panics = [
      ['failAssert', [], 0x01n],
      ['add', [MaxUint256, 1n], 0x11n],
      ['divide', [1n, 0n], 0x12n],
      ['numberAt', [7n], 0x32n],
    ]
    for (const [name, args, code] of panics) {
      const { revert: panic } = await revert(sample[name](...args))
      assert.deepEqual([panic.name, ...panic.args].map(String), ['Panic', `${code}`])
    }
  },
  'sees a revert without data': async () => {
    const { data, reason, revert: decoded } = await revert(sample.failEmpty())
    assert.deepEqual([data, decoded], ['0x', null])
    assert.ok(reason === null || /no data|require\(false\)/.test(reason), reason)
  },
  'gets the receipt of a transaction that reverts': async () => {
    const sent = await sample.set(10n ** 7n, '', { gasLimit: 100_000 })
    const { receipt } = await revert(sent.wait())
    assert.deepEqual([receipt.status, receipt.logs], [0, []])
  },
  'estimates gas, and tells why it cannot': async () => {
    assert.equal(await provider.estimateGas({ from: wallet.address, to: stranger, value: 1n }), 21_000n)
    const gasLimit = await sample.setMany.estimateGas(1n, 20n)
    assert.equal((await (await sample.setMany(1n, 20n, { gasLimit })).wait()).status, 1)
    assert.equal((await revert(sample.failReason.estimateGas('no estimate'))).reason, 'no estimate')
    const { data } = await revert(sample.set.estimateGas(10n ** 7n, ''))
    assert.equal(sample.interface.parseError(data).name, 'TooLarge')
  },
  'refuses a nonce that is too low': async () => {
    await refusal(wallet.sendTransaction({ to: stranger, nonce: 0, gasLimit: 21_000 }), 'NONCE_EXPIRED')
  },
  'refuses an underpriced replacement and takes a better one': async () => {
    const nonce = await nonceNow()
    const next = (value, percent) =>
      wallet.sendTransaction({
        to: stranger,
        value,
        gasLimit: 21_000,
        nonce: nonce + 1,
        maxFeePerGas: parseUnits(`${percent}`, 'gwei'),
        maxPriorityFeePerGas: parseUnits(`${percent}`, 'mwei'),
      })
    const replaced = await next(1n, 100)
    // geth asks for a tenth more, anvil for no less.
    await refusal(next(2n, isAnvil ? 99 : 109), 'REPLACEMENT_UNDERPRICED')
    const better = await next(3n, 125)
    await send({ to: stranger, value: 4n, nonce })
    assert.equal((await better.wait()).status, 1)
    const { replacement, reason } = await refusal(replaced.wait(), 'TRANSACTION_REPLACED')
    assert.deepEqual([replacement.hash, reason], [better.hash, 'replaced'])
  },
  'refuses what the account cannot pay': async () => {
    // What is taken although it should be refused is in the way of what its sender sends next.
    const sender = other(51)
    await send({ to: sender.address, value: parseEther('1') })
    await refusal(sender.sendTransaction({ to: stranger, value: 10n ** 30n, gasLimit: 21_000 }), 'INSUFFICIENT_FUNDS')
    await refusal(other(50).sendTransaction({ to: stranger, gasLimit: 21_000 }), 'INSUFFICIENT_FUNDS')
  },
  'reads fee history and suggests fees': async () => {
    const history = await provider.send('eth_feeHistory', ['0x3', 'latest', [50]])
    assert.deepEqual([history.baseFeePerGas.length, history.reward.length, history.gasUsedRatio.length], [4, 3, 3])
    const { gasPrice, maxFeePerGas, maxPriorityFeePerGas } = await provider.getFeeData()
    assert.ok(gasPrice > 0n && maxFeePerGas > 0n && maxPriorityFeePerGas >= 0n)
  },
  'gets proofs that an independent library verifies': async () => {
    const block = await provider.send('eth_getBlockByNumber', ['latest', false])
    const prove = async (of, slots) =>
      verifyProof(block.stateRoot, await provider.send('eth_getProof', [of, slots, block.number]))
    assert.ok(await prove(address, [zeroPadValue('0x00', 32), zeroPadValue('0x77', 32)]))
    assert.ok(await prove(wallet.address, []))
    assert.ok(!(await prove(other(60).address, [])))
  },
  'reads storage, and state of earlier blocks': async () => {
    const { blockNumber: blockTag } = await (await sample.set(78n, 'then')).wait()
    await (await sample.set(79n, 'now')).wait()
    assert.equal(await sample.value({ blockTag }), 78n)
    assert.equal(await provider.getStorage(address, 0, blockTag), toBeHex(78n, 32))
    assert.equal(await provider.getStorage(address, 0), toBeHex(79n, 32))
  },
  'creates access lists': async () => {
    const second = await (await deploy(Sample, [1n, 'second'])).getAddress()
    const request = { from: wallet.address, to: address, data: sample.interface.encodeFunctionData('readOther', [second]) }
    const { accessList } = await provider.send('eth_createAccessList', [request])
    assert.ok(accessList.some((item) => item.address.toLowerCase() === second.toLowerCase() && item.storageKeys.length === 1))
    assert.equal((await send({ to: address, data: request.data, accessList, type: 2 })).status, 1)
  },
  'traces a transaction with the call tracer': async () => {
    const factory = await deploy(Factory)
    const receipt = await (await factory.create(1n, 'one', { value: 5n })).wait()
    const trace = await provider.send('debug_traceTransaction', [receipt.hash, { tracer: 'callTracer' }])
    assert.deepEqual([trace.type, trace.calls.map(({ type }) => type)], ['CALL', ['CREATE']])
    assert.equal(BigInt(trace.gasUsed), receipt.gasUsed)
  },
  'reads many values in one call through Multicall3': async () => {
    const abi = [
      'function aggregate3((address target, bool allowFailure, bytes callData)[] calls) payable returns ((bool success, bytes returnData)[])',
    ]
    const multicall = new Contract(PREDEPLOYS.multicall3.address, abi, provider)
    const call = (name, ...args) => ({
      target: address,
      allowFailure: true,
      callData: sample.interface.encodeFunctionData(name, args),
    })
    const answers = await multicall.aggregate3.staticCall([call('value'), call('failReason', 'inside')])
    assert.deepEqual(
      answers.map(({ success }) => success),
      [true, false],
    )
    assert.equal(sample.interface.decodeFunctionResult('value', answers[0].returnData)[0], 79n)
    assert.equal(sample.interface.parseError(answers[1].returnData).args[0], 'inside')
  },
  'creates contracts through the CREATE2 deployer': async () => {
    const salt = keccak256(PRIVATE_KEY)
    const { data } = await new ContractFactory(Sample.abi, Sample.bytecode).getDeployTransaction(3n, 'salted')
    const { address: from } = PREDEPLOYS.create2Deployer
    assert.equal((await send({ to: from, data: concat([salt, data]) })).status, 1)
    assert.equal(await new Contract(getCreate2Address(from, salt, keccak256(data)), Sample.abi, provider).label(), 'salted')
  },
  'lets a contract create contracts': async () => {
    const factory = await deploy(Factory)
    const { logs } = await (await factory.create(1n, 'a', { value: 4n })).wait()
    const { sample: child } = logs.at(-1).args
    assert.equal(child, getCreateAddress({ from: await factory.getAddress(), nonce: 1 }))
    assert.equal(await provider.getBalance(child), 4n)
  },
  'pays with a signature through Permit2': async () => {
    const token = await deploy(Token, [10n ** 12n])
    const { address: permit2 } = PREDEPLOYS.permit2
    const spender = other(2)
    await send({ to: spender.address, value: parseEther('1') })
    await (await token.approve(permit2, MaxUint256)).wait()
    const permit = { permitted: { token: await token.getAddress(), amount: 500n }, nonce: 7n, deadline: MaxUint256 }
    const domain = { name: 'Permit2', chainId, verifyingContract: permit2 }
    const contract = new Contract(permit2, PERMIT2_ABI, spender)
    assert.equal(await contract.DOMAIN_SEPARATOR(), TypedDataEncoder.hashDomain(domain))
    const signature = await wallet.signTypedData(domain, PERMIT_TYPES, { ...permit, spender: spender.address })
    const spend = [permit, { to: stranger, requestedAmount: 400n }, wallet.address, signature]
    assert.equal((await (await contract.permitTransferFrom(...spend)).wait()).status, 1)
    assert.equal(await token.balanceOf(stranger), 400n)
    assert.equal((await revert(contract.permitTransferFrom.staticCall(...spend))).revert.name, 'InvalidNonce')
  },
  'sends batches of requests': async () => {
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) => (i % 2 ? provider.getBalance(wallet.address) : sample.add(i, 1n))),
    )
    assert.ok(answers.every((answer, i) => (i % 2 ? answer > 0n : answer === BigInt(i + 1))))
  },
  'understands block tags': async () => {
    const tags = ['earliest', 'finalized', 'safe', 'latest', 'pending']
    const blocks = await Promise.all(tags.map((tag) => provider.getBlock(tag)))
    assert.equal(blocks[0].number, 0)
    assert.ok(blocks[1].number <= blocks[2].number && blocks[2].number <= blocks[3].number)
    for (const tag of tags) assert.ok((await provider.getBalance(wallet.address, tag)) >= 0n)
  },
  'reads blocks, and what is not there': async () => {
    const receipt = await send({ to: stranger, value: 1n })
    const block = await provider.getBlock(receipt.blockNumber, true)
    assert.equal(block.prefetchedTransactions[receipt.index].hash, receipt.hash)
    assert.equal((await block.getTransaction(receipt.index)).hash, receipt.hash)
    assert.deepEqual(
      await Promise.all([
        provider.getBlock(10 ** 9),
        provider.getTransaction(id('no')),
        provider.getTransactionReceipt(id('no')),
      ]),
      [null, null, null],
    )
  },
  'goes on without ENS': async () => {
    await refusal(provider.resolveName('nobody.eth'), 'UNSUPPORTED_OPERATION')
    assert.ok(await provider.getBlockNumber())
  },
  'sends 100 kB of calldata': async () => {
    const data = sample.interface.encodeFunctionData('sum', [`0x${'00000001'.repeat(25_000)}`])
    const receipt = await send({ to: address, data })
    assert.deepEqual([receipt.status, (await receipt.getTransaction()).data], [1, data])
  },
  'transfers to itself': async () => {
    const before = await provider.getBalance(wallet.address)
    const { fee } = await send({ to: wallet.address, value: parseEther('1') })
    assert.equal(await provider.getBalance(wallet.address), before - fee)
  },
  'has many transactions of one sender in flight': async () => {
    const managed = new NonceManager(wallet)
    const nonce = await nonceNow()
    const sent = await Promise.all(
      Array.from({ length: 20 }, (_, i) => managed.sendTransaction({ to: stranger, value: BigInt(i), gasLimit: 21_000 })),
    )
    const receipts = await Promise.all(sent.map((one) => one.wait()))
    assert.ok(receipts.every(({ status }) => status === 1))
    assert.equal(await nonceNow(), nonce + 20)
  },
})
