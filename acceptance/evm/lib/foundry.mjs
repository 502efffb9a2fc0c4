// Foundry's programs, pinned by package.json.

import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The forge project with the contracts. */
export const PROJECT = fileURLToPath(new URL('../contracts', import.meta.url))

/** The pinned program, or on machines for which none is pinned the one on the path. */
export function foundry(program) {
  try {
    return createRequire(import.meta.url).resolve(`@foundry-rs/${program}-linux-amd64/bin/${program}`)
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error
    return program
  }
}

/** A home folder of its own, so that neither settings nor caches of the user matter. */
const HOME = mkdtempSync(join(tmpdir(), 'foundry-'))
process.once('exit', () => rmSync(HOME, { recursive: true, force: true }))

/** Runs one of the programs on the node; gives what it prints, or throws with it. */
export function start(program, args, env = {}) {
  const options = {
    cwd: PROJECT,
    env: {
      PATH: process.env.PATH,
      HOME,
      ETH_RPC_URL: process.env.RPC_URL,
      NO_COLOR: '1',
      FOUNDRY_DISABLE_NIGHTLY_WARNING: '1',
      ...env,
    },
    maxBuffer: 2 ** 26,
  }
  return new Promise((resolve, reject) => {
    execFile(foundry(program), args.map(String), options, (error, stdout, stderr) => {
      if (error)
        reject(
          Object.assign(new Error(`${program} ${args.join(' ')}: ${error.code}\n${stdout}${stderr}`), {
            output: `${stdout}${stderr}`,
          }),
        )
      else resolve(stdout.trim())
    })
  })
}
