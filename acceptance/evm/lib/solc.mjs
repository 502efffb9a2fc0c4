#!/usr/bin/env node
// The compiler from npm behind the two flags that forge calls a compiler with, so that none has to be downloaded:
// `--version`, and `--standard-json` with the input on standard input. The input has all sources in it.

import { readFileSync } from 'node:fs'
import solc from 'solc'

if (process.argv.includes('--version')) console.log(`Version: ${solc.version()}`)
else if (process.argv.includes('--standard-json')) console.log(solc.compile(readFileSync(0, 'utf8')))
else throw new Error(`flags that are not understood: ${process.argv.slice(2).join(' ')}`)
