import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { decodeFunctionResult, encodeFunctionData, keccak256, multicall3Abi, parseAbi } from "viem";
import { create2Address, permit2Domain, presignedAddress, splitImmutables } from "../predeploys/derive.mjs";
import { Chain, CHAIN_ID, account, artifact } from "./support/chain.mjs";

const { create2Deployer, multicall3, permit2 } = artifact("predeploys");
const permit2Abi = parseAbi([
  "function DOMAIN_SEPARATOR() view returns (bytes32)",
  "function nonceBitmap(address, uint256) view returns (uint256)",
  "function invalidateUnorderedNonces(uint256 wordPos, uint256 mask)",
]);

let chain;
before(async () => {
  const alloc = {};
  for (const { address, runtimeCode } of [create2Deployer, multicall3]) alloc[address] = { nonce: "0x1", balance: "0x0", code: runtimeCode };
  chain = await Chain.start({ alloc, args: ["--disable-default-create2-deployer"] });
});
after(() => chain.stop());

test("the addresses follow from the code", async () => {
  for (const { address, initCode, presigned, runtimeCode, runtimeCodeHash } of [create2Deployer, multicall3]) {
    assert.equal((await presignedAddress(initCode, presigned)).address, address);
    assert.equal(keccak256(runtimeCode), runtimeCodeHash);
    assert.ok(initCode.endsWith(runtimeCode.slice(2)), "the init code returns its own end");
  }
  assert.equal(create2Deployer.address, "0x4e59b44847b379578588920cA78FbF26c0B4956C");
  assert.equal(multicall3.address, "0xcA11bde05977b3631167028862bE2a173976CA11");
  assert.equal(permit2.deployer, create2Deployer.address);
  assert.equal(keccak256(permit2.initCode), permit2.initCodeHash);
  assert.equal(create2Address(permit2.deployer, permit2.salt, permit2.initCode), "0x000000000022D473030F116dDEE9F6B43aC78BA3");
  assert.equal(permit2.address, "0x000000000022D473030F116dDEE9F6B43aC78BA3");
});

test("genesis makes Permit2 for this chain by calling the deployer, as docs/spec/contracts.md says", async () => {
  const { status, gasUsed } = await chain.transact({ from: account("genesis"), to: permit2.deployer, data: permit2.salt + permit2.initCode.slice(2) });
  assert.equal(status, "0x1");
  console.log(`gas  Permit2 through the CREATE2 deployer ${Number(gasUsed)}`);
  const { words, templateHash } = splitImmutables(await chain.rpc("eth_getCode", [permit2.address, "latest"]), permit2.immutables);
  assert.equal(templateHash, permit2.runtimeTemplateHash);
  assert.equal(BigInt(words.chainId), CHAIN_ID);
  assert.equal(words.domainSeparator, permit2Domain(permit2.address, CHAIN_ID));

  const contract = chain.contract("Permit2", { abi: permit2Abi, address: permit2.address });
  assert.equal(await contract.read("DOMAIN_SEPARATOR"), permit2Domain(permit2.address, CHAIN_ID));
  const owner = account("owner");
  await contract.send(owner, "invalidateUnorderedNonces", [0n, 5n]);
  assert.equal(await contract.read("nonceBitmap", [owner, 0n]), 5n);
});

test("Multicall3 answers several calls at once", async () => {
  const contract = chain.contract("Multicall3", { abi: multicall3Abi, address: multicall3.address });
  const callData = encodeFunctionData({ abi: artifact("Parameters").abi, functionName: "proposalCount" });
  const call = (allowFailure, target) => ({ target, allowFailure, callData });
  const answers = await contract.read("aggregate3", [[call(false, artifact("Parameters").address), call(true, artifact("Randomness").address)]]);
  assert.deepEqual(answers.map(({ success }) => success), [true, false]);
  assert.equal(decodeFunctionResult({ abi: artifact("Parameters").abi, functionName: "proposalCount", data: answers[0].returnData }), 0n);
});
