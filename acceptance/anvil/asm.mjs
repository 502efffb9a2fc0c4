// A small assembler for the virtual machine of Ethereum (Osaka).
//
// Words: an opcode; a number, which is pushed in the fewest bytes; `@name`, which pushes a label; `name:`, which places
// one; `#hex`, bytes as they are.

const NAMES = {
  0x00: 'STOP ADD MUL SUB DIV SDIV MOD SMOD ADDMOD MULMOD EXP SIGNEXTEND',
  0x10: 'LT GT SLT SGT EQ ISZERO AND OR XOR NOT BYTE SHL SHR SAR CLZ',
  0x20: 'KECCAK256',
  0x30: 'ADDRESS BALANCE ORIGIN CALLER CALLVALUE CALLDATALOAD CALLDATASIZE CALLDATACOPY CODESIZE CODECOPY GASPRICE '
    + 'EXTCODESIZE EXTCODECOPY RETURNDATASIZE RETURNDATACOPY EXTCODEHASH',
  0x40: 'BLOCKHASH COINBASE TIMESTAMP NUMBER PREVRANDAO GASLIMIT CHAINID SELFBALANCE BASEFEE BLOBHASH BLOBBASEFEE',
  0x50: 'POP MLOAD MSTORE MSTORE8 SLOAD SSTORE JUMP JUMPI PC MSIZE GAS JUMPDEST TLOAD TSTORE MCOPY PUSH0',
  0x80: [...Array(16).keys()].map((i) => `DUP${i + 1}`).join(' '),
  0x90: [...Array(16).keys()].map((i) => `SWAP${i + 1}`).join(' '),
  0xa0: 'LOG0 LOG1 LOG2 LOG3 LOG4',
  0xf0: 'CREATE CALL CALLCODE RETURN DELEGATECALL CREATE2',
  0xfa: 'STATICCALL',
  0xfd: 'REVERT INVALID SELFDESTRUCT',
}

const OPCODES = new Map(
  Object.entries(NAMES).flatMap(([first, names]) =>
    names.split(' ').map((name, i) => [name, Number(first) + i])),
)

const hex = (number, bytes) => BigInt(number).toString(16).padStart(2 * bytes, '0')

function push(number) {
  if (number === 0n) return '5f'
  const digits = number.toString(16)
  const bytes = Math.ceil(digits.length / 2)
  return hex(0x5f + bytes, 1) + hex(number, bytes)
}

function encode(word) {
  if (OPCODES.has(word)) return hex(OPCODES.get(word), 1)
  if (word.startsWith('#')) return word.slice(1)
  if (word.endsWith(':')) return '5b'
  return push(BigInt(word))
}

/** The bytes of `source`, as hex with 0x. */
export function asm(source) {
  const words = source.split(/\s+/).filter(Boolean)
  const labels = new Map()
  let at = 0
  for (const word of words) {
    if (word.endsWith(':')) labels.set(word.slice(0, -1), at)
    at += word.startsWith('@') ? 3 : encode(word).length / 2
  }
  const bytes = (word) => (word.startsWith('@') ? `61${hex(labels.get(word.slice(1)), 2)}` : encode(word))
  return `0x${words.map(bytes).join('')}`
}

/** Init code that returns `code`. */
export function init(code) {
  return `${asm('11 CODESIZE SUB DUP1 11 0 CODECOPY 0 RETURN')}${code.slice(2)}`
}
