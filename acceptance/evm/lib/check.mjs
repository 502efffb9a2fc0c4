// Checks of one client, each of which prints one line.

/** A check that takes this long waits for something that does not come. */
const LIMIT_MS = 30_000

function limited(promise) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${LIMIT_MS / 1000} s`)), LIMIT_MS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

async function passes(client, name, check) {
  try {
    await limited(check())
  } catch (error) {
    console.log(`FAIL ${client}: ${name}\n${indent(error?.stack ?? `${error}`)}`)
    return false
  }
  console.log(`ok   ${client}: ${name}`)
  return true
}

/** Calldata of 100 kB does not help a reader. */
const shorten = (text) => text.replace(/([0-9a-f]{200})[0-9a-f]{200,}/gi, '$1...')

const indent = (text) =>
  shorten(text)
    .split('\n')
    .map((line) => `     ${line}`)
    .join('\n')

/** Runs `checks`, functions by name, one after the other, and ends the process: status 1 if any failed. */
export async function run(client, checks) {
  let failed = 0
  for (const [name, check] of Object.entries(checks)) failed += (await passes(client, name, check)) ? 0 : 1
  process.exit(failed ? 1 : 0)
}

/** The value that `make` gives once it gives one; asks again and again. */
export async function until(make) {
  const end = Date.now() + LIMIT_MS / 2
  for (;;) {
    const value = await make()
    if (value) return value
    if (Date.now() > end) throw new Error(`nothing within ${LIMIT_MS / 2000} s: ${make}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}
