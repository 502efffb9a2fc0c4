// A chain of anvil with the predeploys that every Veracity chain has.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { numberToHex } from 'viem'
import { foundry } from './foundry.mjs'
import { PREDEPLOYS } from './predeploys.mjs'
import { rpc } from './rpc.mjs'

async function freePort() {
  const server = createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function ready(url, child) {
  for (let i = 0; i < 400; i += 1) {
    if (child.exitCode !== null) throw new Error(`anvil ended with ${child.exitCode}`)
    if (await rpc(url, 'eth_chainId').catch(() => undefined)) return
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  throw new Error('anvil does not answer')
}

async function predeploy(url) {
  // Else all fees go to the zero address, which transactions pay too.
  await rpc(url, 'anvil_setCoinbase', `0x${'be'.repeat(20)}`)
  const { create2Deployer, multicall3, permit2 } = PREDEPLOYS
  for (const { address, runtimeCode } of [create2Deployer, multicall3]) {
    await rpc(url, 'anvil_setCode', address, runtimeCode)
    await rpc(url, 'anvil_setNonce', address, '0x1')
  }
  // Permit2 keeps the chain id in its code, so it has to be made.
  const [from] = await rpc(url, 'eth_accounts')
  const data = permit2.salt + permit2.initCode.slice(2)
  await rpc(url, 'eth_sendTransactionSync', { from, to: create2Deployer.address, data, gas: numberToHex(5_000_000) })
}

/** Starts anvil with the dev accounts; ends with this process or with `stop`. */
export async function startAnvil({ chainId, gasLimit }) {
  const port = await freePort()
  // States of past blocks: some gigabytes, which it would leave in the home folder.
  const states = mkdtempSync(join(tmpdir(), 'veracity-anvil-'))
  const flags = [
    '--cache-path',
    states,
    '--hardfork',
    'osaka',
    '--chain-id',
    chainId,
    '--gas-limit',
    gasLimit,
    '--port',
    port,
    '--host',
    '127.0.0.1',
    '--steps-tracing',
    '--quiet',
  ]
  const child = spawn(foundry('anvil'), flags.map(String), { stdio: ['ignore', 'ignore', 'inherit'] })
  const failed = new Promise((_, reject) => {
    child.once('error', ({ message }) => reject(new Error(`anvil does not start: ${message}; run npm ci, or install anvil 1.7`)))
  })
  const stop = () => {
    child.kill('SIGKILL')
    rmSync(states, { recursive: true, force: true })
  }
  process.once('exit', stop)
  const url = `http://127.0.0.1:${port}`
  await Promise.race([ready(url, child), failed])
  await predeploy(url)
  return { url, ws: `ws://127.0.0.1:${port}`, stop }
}
