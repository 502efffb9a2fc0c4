// What the address of each predeploy says about its code. No network, no compiler: `npm test` runs this.

import { encodeAbiParameters, getContractAddress, keccak256, recoverAddress, serializeSignature, stringToHex, toHex, toRlp } from "viem";

/** A number as RLP wants it: no leading zero byte, zero is empty. */
const rlpNumber = (value) => (BigInt(value) === 0n ? "0x" : toHex(BigInt(value)));

/**
 * Address at which a presigned deployment (legacy transaction, no chain id, nonce zero, no recipient) puts its code.
 * The signature fits one code only, and its signer has one address for nonce zero.
 */
export async function presignedAddress(initCode, { gasPrice, gas, r, s, v }) {
  const fields = ["0x", rlpNumber(gasPrice), rlpNumber(gas), "0x", "0x", initCode];
  const signature = serializeSignature({ r, s, yParity: Number(v) - 27 });
  const deployer = await recoverAddress({ hash: keccak256(toRlp(fields)), signature });
  const raw = toRlp([...fields, rlpNumber(v), r, s]);
  return { deployer, address: getContractAddress({ opcode: "CREATE", from: deployer, nonce: 0n }), raw };
}

/** Address at which the CREATE2 deployer puts a code. */
export const create2Address = (deployer, salt, initCode) =>
  getContractAddress({ opcode: "CREATE2", from: deployer, salt, bytecode: initCode });

const hash = (text) => keccak256(stringToHex(text));

/** EIP-712 domain separator of Permit2, computed without its code. */
export const permit2Domain = (address, chainId) =>
  keccak256(
    encodeAbiParameters(
      [{ type: "bytes32" }, { type: "bytes32" }, { type: "uint256" }, { type: "address" }],
      [hash("EIP712Domain(string name,uint256 chainId,address verifyingContract)"), hash("Permit2"), BigInt(chainId), address],
    ),
  );

/** Words of a deployed code at the places of its immutables, and the hash of the code with zeros there. */
export function splitImmutables(code, immutables) {
  let template = code.slice(2);
  const words = {};
  for (const { offset, value } of immutables) {
    words[value] = `0x${template.slice(2 * offset, 2 * offset + 64)}`;
    template = template.slice(0, 2 * offset) + "0".repeat(64) + template.slice(2 * offset + 64);
  }
  return { words, templateHash: keccak256(`0x${template}`) };
}
