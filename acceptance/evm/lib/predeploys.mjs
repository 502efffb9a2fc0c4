// Contracts that every Veracity chain has from genesis: docs/spec/contracts.md, section 8.

import { readFileSync } from 'node:fs'

/** Addresses and code, and how each is made. */
export const PREDEPLOYS = JSON.parse(
  readFileSync(new URL('../../../contracts/artifacts/predeploys.json', import.meta.url), 'utf8'),
)

export const PERMIT2_ABI = [
  'function DOMAIN_SEPARATOR() view returns (bytes32)',
  'function nonceBitmap(address owner, uint256 word) view returns (uint256)',
  'function permitTransferFrom(((address token, uint256 amount) permitted, uint256 nonce, uint256 deadline) permit, ' +
    '(address to, uint256 requestedAmount) transferDetails, address owner, bytes signature)',
  'error InvalidSigner()',
  'error InvalidSignature()',
  'error InvalidNonce()',
]

/** EIP-712 types of a permit that Permit2 takes. */
export const PERMIT_TYPES = {
  PermitTransferFrom: [
    { name: 'permitted', type: 'TokenPermissions' },
    { name: 'spender', type: 'address' },
    { name: 'nonce', type: 'uint256' },
    { name: 'deadline', type: 'uint256' },
  ],
  TokenPermissions: [
    { name: 'token', type: 'address' },
    { name: 'amount', type: 'uint256' },
  ],
}
