// Random programs: straight lines of opcodes that never take from an empty stack, with a few jumps ahead.

/** mulberry32. */
function generator(seed) {
  let state = seed >>> 0
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % n
  }
}

const UNARY = 'NOT ISZERO CLZ BALANCE EXTCODESIZE EXTCODEHASH CALLDATALOAD BLOCKHASH BLOBHASH'.split(' ')
const BINARY = 'ADD MUL SUB DIV SDIV MOD SMOD EXP SIGNEXTEND LT GT SLT SGT EQ AND OR XOR BYTE SHL SHR SAR'.split(' ')
const TERNARY = 'ADDMOD MULMOD'.split(' ')
const NULLARY = ('ADDRESS ORIGIN CALLER CALLVALUE CALLDATASIZE CODESIZE GASPRICE RETURNDATASIZE COINBASE TIMESTAMP NUMBER '
  + 'PREVRANDAO GASLIMIT CHAINID SELFBALANCE BASEFEE BLOBBASEFEE PC MSIZE GAS').split(' ')
const CONSTANTS = ['0', '1', '2', '31', '32', '33', '255', '256', '0 NOT', '1 255 SHL', '0 NOT 1 SHR', '0xff00']
// Keeps offsets and lengths small.
const SMALL = '0x7f AND'

/** The source of the program with this seed. */
export function program(seed, callees) {
  const below = generator(seed)
  const pick = (list) => list[below(list.length)]
  const lines = []
  let height = 0
  let labels = 0
  const line = (source, takes, gives) => {
    lines.push(source)
    height += gives - takes
  }
  const constant = () => (below(4) ? pick(CONSTANTS) : `0x${(below(2 ** 32) + 1).toString(16)}`)
  const small = () => `${below(100)}`
  const to = () => (below(2) ? BigInt(pick(callees)).toString() : pick(['1', '2', '3', '4', '6', '9', '0x100', 'ADDRESS', 'CALLER', '0xaa']))
  const kinds = [
    [6, 0, () => line(constant(), 0, 1)],
    [3, 0, () => line(pick(NULLARY), 0, 1)],
    [4, 1, () => line(pick(UNARY), 1, 1)],
    [8, 2, () => line(pick(BINARY), 2, 1)],
    [2, 3, () => line(pick(TERNARY), 3, 1)],
    [3, 1, () => line(`DUP${1 + below(Math.min(height, 16))}`, 0, 1)],
    [3, 2, () => line(`SWAP${1 + below(Math.min(height - 1, 16))}`, 0, 0)],
    [1, 1, () => line('POP', 1, 0)],
    [2, 2, () => line(`${SMALL} ${pick(['MSTORE', 'MSTORE8'])}`, 2, 0)],
    [2, 1, () => line(`${SMALL} MLOAD`, 1, 1)],
    [1, 1, () => line(`${SMALL} ${small()} KECCAK256`, 1, 1)],
    [1, 3, () => line(`${SMALL} SWAP1 ${SMALL} SWAP2 ${SMALL} MCOPY`, 3, 0)],
    [1, 2, () => line(`${small()} SWAP1 ${SMALL} ${pick(['CALLDATACOPY', 'CODECOPY'])}`, 2, 0)],
    [1, 1, () => line(`${small()} ${small()} ${small()} DUP4 EXTCODECOPY`, 0, 0)],
    [2, 2, () => line(`3 AND ${pick(['SSTORE', 'TSTORE'])}`, 2, 0)],
    [2, 1, () => line(`3 AND ${pick(['SLOAD', 'TLOAD'])}`, 1, 1)],
    [1, 2, () => { const n = below(Math.min(height, 4) + 1); line(`${small()} ${small()} LOG${n}`, n, 0) }],
    [2, 0, () => line(`${small()} ${small()} ${small()} ${small()} ${below(3)} ${to()} ${below(60000)} ${pick(['CALL', 'CALLCODE'])}`, 0, 1)],
    [2, 0, () => line(`${small()} ${small()} ${small()} ${small()} ${to()} ${below(60000)} ${pick(['DELEGATECALL', 'STATICCALL'])}`, 0, 1)],
    [1, 0, () => line('RETURNDATASIZE 0 1 RETURNDATACOPY', 0, 0)],
    [1, 1, () => line(`${small()} ${small()} ${below(2)} CREATE`, 0, 1)],
    [2, 1, () => { const l = `l${labels++}`; line(`@${l} JUMPI ${constant()} ${small()} MSTORE ${l}:`, 1, 0) }],
  ]
  const total = kinds.reduce((sum, [weight]) => sum + weight, 0)
  const length = 15 + below(45)
  for (let i = 0; i < length; i += 1) {
    let n = below(total)
    const [, needs, make] = kinds.find(([weight]) => (n -= weight) < 0)
    if (needs <= height) make()
  }
  // One in eight ends badly; the others keep what they have.
  const ends = ['INVALID', '64 0 REVERT', '0 JUMP', '1 0 NOT MSTORE', '9 9999 0 RETURNDATACOPY', 'ORIGIN SELFDESTRUCT', 'ADD ADD ADD', '#c0']
  const bad = below(8) === 0
  const keep = [...Array(height).keys()].map((i) => `${128 + 32 * i} MSTORE`)
  const last = bad ? pick(ends) : `${256 + 32 * height} 0 KECCAK256 4 SSTORE ${below(40)} 0 RETURN`
  return [...lines, ...keep, last].join(' ')
}
