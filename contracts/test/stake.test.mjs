import assert from "node:assert/strict";
import { after, before, beforeEach, afterEach, describe, test } from "node:test";
import { encodeFunctionData, keccak256, concat, toHex, numberToHex } from "viem";
import { compileTest } from "../scripts/compile.mjs";
import { parameterName, parameterSlot } from "../scripts/genesis.mjs";
import { Chain, CHAIN_ID, ED25519, ROLE, VER, account, bindingMessage, nodeKey } from "./support/chain.mjs";
import { allErrorsSeen, printGas, random, reverts } from "./support/checks.mjs";

const { VALIDATOR, WORKER, HOST, GATEWAY } = ROLE;
const MIN = { [VALIDATOR]: 10_000n * VER, [WORKER]: 1_000n * VER, [HOST]: 100n * VER, [GATEWAY]: 100n * VER };
const DELAY = 604_800;
const URL = "https://node.example:9000";
const ZERO = "0x0000000000000000000000000000000000000000";

let chain, stake, clean;
before(async () => {
  chain = await Chain.start({ parameters: { validators_max: 6 } });
  stake = chain.contract("Stake");
  for (const name of ["alice", "bob", "carol"]) await chain.fund(account(name));
});
after(async () => {
  await chain.stop();
});
beforeEach(async () => (clean = await chain.snapshot()));
afterEach(() => chain.revert(clean));

const required = (roles) => [1, 2, 4, 8].reduce((sum, role) => (roles & role ? sum + MIN[role] : sum), 0n);

async function register(seed, { operator = account("alice"), roles = WORKER, bond = required(roles), endpoint = URL, gas } = {}) {
  const node = nodeKey(seed);
  const proof = await chain.bind(node, operator);
  const receipt = await stake.send(operator, "register", [node.id, roles, endpoint, proof], { value: bond, gas });
  return { ...node, operator, receipt };
}
const info = (node) => stake.read("node", [node.id]);

describe("register", () => {
  test("stores what was given, emits it, and pays the bond in", async () => {
    const node = await register(1, { roles: WORKER | HOST, bond: 2_000n * VER, gas: "register(worker+host)" });
    const { time } = await chain.block();
    assert.deepEqual(await info(node), {
      operator: node.operator, roles: WORKER | HOST, leavingRoles: 0, leavesAt: [0n, 0n, 0n, 0n], candidate: false,
      bond: 2_000n * VER, required: 1_100n * VER, unbonding: 0n, registeredAt: BigInt(time), endpoint: URL,
    });
    assert.equal(await stake.read("operatorOf", [node.id]), node.operator);
    assert.equal(await stake.read("endpointOf", [node.id]), URL);
    assert.equal(await chain.balance(stake.address), 2_000n * VER);
    assert.deepEqual(node.receipt.events.map(({ eventName, args }) => [eventName, args]), [
      ["Registered", { nodeId: node.id, operator: node.operator, roles: WORKER | HOST, endpoint: URL }],
      ["Bonded", { nodeId: node.id, amount: 2_000n * VER, bond: 2_000n * VER }],
    ]);
  });

  test("signs the message that the specification gives", async () => {
    const operator = account("alice");
    assert.equal(await stake.read("bindingMessage", [operator]), bindingMessage(operator).toLowerCase());
    assert.equal((bindingMessage(operator).length - 2) / 2, 81);
    assert.equal(await stake.read("BINDING_NAMESPACE"), "veracity operator binding v1");
  });

  test("refuses a proof for another operator, another chain, another key, and one that is no signature", async () => {
    const alice = account("alice");
    const node = nodeKey(1);
    const call = (from, id, proof) => stake.send(from, "register", [id, WORKER, URL, proof], { value: MIN[WORKER] });
    const proof = await chain.bind(node, alice);
    // Bob sees the transaction of Alice and sends it as his own.
    await reverts(call(account("bob"), node.id, proof), "BadProof", [node.id, account("bob")]);
    await reverts(call(alice, nodeKey(2).id, proof), "BadProof");
    await reverts(call(alice, node.id, await chain.bind(node, alice, bindingMessage(alice, CHAIN_ID + 1n))), "BadProof");
    const flipped = `${proof.slice(0, -2)}${(parseInt(proof.slice(-2), 16) ^ 1).toString(16).padStart(2, "0")}`;
    await reverts(call(alice, node.id, flipped), "BadProof");
    await reverts(call(alice, node.id, proof.slice(0, -2)), "BadProofLength", [63n]);
    await reverts(call(alice, node.id, `${proof}00`), "BadProofLength", [65n]);
    await reverts(call(alice, node.id, "0x"), "BadProofLength", [0n]);
    await call(alice, node.id, proof);
  });

  test("refuses when the precompile is not there, fails, or answers with the wrong length", async () => {
    const node = nodeKey(1);
    const proof = await chain.bind(node, account("alice"));
    const call = () => stake.send(account("alice"), "register", [node.id, WORKER, URL, proof], { value: MIN[WORKER] });
    const one = "600160005260";
    for (const code of ["0x", "0x5f5ffd", `0x${one}1f6000f3`, `0x${one}406000f3`]) {
      await chain.rpc("anvil_setCode", [ED25519, code]);
      await reverts(call(), "Ed25519Unavailable");
    }
    // A word other than one is not "valid".
    await chain.rpc("anvil_setCode", [ED25519, "0x600260005260206000f3"]);
    await reverts(call(), "BadProof");
  });

  test("asks the precompile about key, signature and message, in this order", async () => {
    const node = nodeKey(1);
    const proof = await chain.bind(node, account("alice"));
    const input = concat([node.id, proof, bindingMessage(account("alice"))]);
    assert.equal(BigInt(await chain.storage(ED25519, keccak256(input))), 1n);
    await chain.setStorage(ED25519, keccak256(input), 0n);
    await reverts(stake.read("register", [node.id, WORKER, URL, proof], { from: account("alice"), value: MIN[WORKER] }), "BadProof");
  });

  test("refuses a second registration, by anyone", async () => {
    const node = await register(1);
    const proof = await chain.bind(node, account("bob"));
    const call = (from, bytes) => stake.send(from, "register", [node.id, HOST, URL, bytes], { value: MIN[HOST] });
    await reverts(call(account("bob"), proof), "AlreadyRegistered", [node.id, node.operator]);
    await reverts(call(node.operator, await chain.bind(node, node.operator)), "AlreadyRegistered");
  });

  test("needs a role, and the minimum bond of every role", async () => {
    for (const roles of [0, 16, 255]) await reverts(register(1, { roles, bond: 10n ** 6n * VER }), "BadRoles", [BigInt(roles)]);
    for (let roles = 1; roles < 16; roles++) {
      assert.equal(await stake.read("requiredBond", [roles]), required(roles));
      await reverts(register(1, { roles, bond: required(roles) - 1n }), "BondTooLow", [required(roles), required(roles) - 1n]);
    }
    await reverts(stake.read("requiredBond", [16]), "BadRoles", [16n]);
    assert.equal(await stake.read("requiredBond", [0]), 0n);
    await register(1, { roles: 15 });
  });

  test("takes endpoints of graphic ASCII up to 256 bytes", async () => {
    await reverts(register(1, { endpoint: "x".repeat(257) }), "EndpointTooLong", [257n]);
    for (const [endpoint, position] of [["a b", 1n], ["\nab", 0n], ["ab\x7f", 2n], ["caf\u00e9", 3n]]) {
      await reverts(register(1, { endpoint }), "BadEndpoint", [position]);
    }
    await register(1, { endpoint: "" });
    const node = await register(2, { endpoint: "!~".repeat(128) });
    assert.equal((await info(node)).endpoint.length, 256);
    const { events } = await stake.send(node.operator, "setEndpoint", [node.id, "tcp://a:1"], { gas: "setEndpoint" });
    assert.deepEqual(events[0].args, { nodeId: node.id, endpoint: "tcp://a:1" });
    assert.equal((await info(node)).endpoint, "tcp://a:1");
    await reverts(stake.send(node.operator, "setEndpoint", [node.id, " "]), "BadEndpoint");
    await reverts(stake.send(node.operator, "setEndpoint", [node.id, "x".repeat(257)]), "EndpointTooLong");
  });

  test("lists nodes in pages", async () => {
    const ids = [];
    for (let i = 0; i < 5; i++) ids.push((await register(i, { roles: HOST })).id);
    assert.equal(await stake.read("nodeCount"), 5n);
    assert.deepEqual(await stake.read("nodePage", [0n, 256n]), ids);
    assert.deepEqual(await stake.read("nodePage", [1n, 2n]), ids.slice(1, 3));
    assert.deepEqual(await stake.read("nodePage", [4n, 2n]), ids.slice(4));
    assert.deepEqual(await stake.read("nodePage", [5n, 2n]), []);
    assert.deepEqual(await stake.read("nodePage", [2n ** 256n - 1n, 256n]), []);
    await reverts(stake.read("nodePage", [0n, 257n]), "PageTooLarge", [257n, 256n]);
  });

  test("refuses money that no call explains, and unknown nodes", async () => {
    const receipt = await chain.transact({ from: account("alice"), to: stake.address, value: toHex(VER) });
    assert.equal(receipt.status, "0x0");
    const unknown = nodeKey(99).id;
    await reverts(stake.read("node", [unknown]), "UnknownNode", [unknown]);
    await reverts(stake.send(account("alice"), "bond", [unknown], { value: 1n }), "UnknownNode", [unknown]);
    assert.equal(await stake.read("operatorOf", [unknown]), ZERO);
    assert.equal(await stake.read("endpointOf", [unknown]), "");
    for (const roles of [0, 1, 15]) {
      assert.equal(await stake.read("hasRole", [unknown, roles]), false);
      assert.equal(await stake.read("isBonded", [unknown, roles]), false);
    }
    assert.equal(await stake.read("weightOf", [unknown]), 0n);
    assert.deepEqual(await stake.read("unbondingsOf", [unknown]), []);
  });
});

describe("bonds", () => {
  test("only the operator moves them", async () => {
    const node = await register(1);
    const bob = account("bob");
    const calls = [["bond", [node.id], 1n], ["unbond", [node.id, 1n]], ["withdraw", [node.id, bob]], ["setRoles", [node.id, HOST]],
      ["setEndpoint", [node.id, URL]], ["stand", [node.id]]];
    for (const [name, args, value] of calls) {
      await reverts(stake.send(bob, name, args, { value }), "NotOperator", [node.id, node.operator, bob]);
    }
  });

  test("bond, unbond, wait, withdraw", async () => {
    const node = await register(1, { roles: HOST, bond: 300n * VER });
    const up = await stake.send(node.operator, "bond", [node.id], { value: 50n * VER, gas: "bond" });
    assert.deepEqual(up.events[0].args, { nodeId: node.id, amount: 50n * VER, bond: 350n * VER });
    await reverts(stake.send(node.operator, "bond", [node.id]), "ZeroAmount");
    await reverts(stake.send(node.operator, "unbond", [node.id, 0n]), "ZeroAmount");
    await reverts(stake.send(node.operator, "unbond", [node.id, 350n * VER + 1n]), "AmountAboveBond", [350n * VER, 350n * VER + 1n]);
    await reverts(stake.send(node.operator, "unbond", [node.id, 250n * VER + 1n]), "BondTooLow", [100n * VER, 100n * VER - 1n]);
    await reverts(stake.send(node.operator, "withdraw", [node.id, account("bob")]), "NothingToWithdraw", [0n]);

    const down = await stake.send(node.operator, "unbond", [node.id, 250n * VER], { gas: "unbond" });
    const readyAt = (await chain.block()).time + DELAY;
    assert.deepEqual(down.events[0].args, { nodeId: node.id, amount: 250n * VER, bond: 100n * VER, readyAt: BigInt(readyAt) });
    assert.equal((await info(node)).unbonding, 250n * VER);
    assert.deepEqual(await stake.read("unbondingsOf", [node.id]), [{ amount: 250n * VER, readyAt: BigInt(readyAt) }]);
    assert.equal(await chain.balance(stake.address), 350n * VER);

    const to = account("someone else");
    await reverts(stake.send(node.operator, "withdraw", [node.id, ZERO]), "ZeroRecipient");
    await chain.warpTo(readyAt - 1);
    await reverts(stake.read("withdraw", [node.id, to], { from: node.operator }), "NothingToWithdraw", [BigInt(readyAt)]);
    await chain.warpTo(readyAt);
    assert.equal(await stake.read("withdraw", [node.id, to], { from: node.operator }), 250n * VER);
    const paid = await stake.send(node.operator, "withdraw", [node.id, to], { gas: "withdraw" });
    assert.deepEqual(paid.events[0].args, { nodeId: node.id, to, amount: 250n * VER });
    assert.equal(await chain.balance(to), 250n * VER);
    assert.equal(await chain.balance(stake.address), 100n * VER);
    await reverts(stake.send(node.operator, "withdraw", [node.id, to]), "NothingToWithdraw", [0n]);
    // Its word is given back.
    const word = BigInt(keccak256(concat([node.id, numberToHex(0, { size: 32 })]))) + 4n;
    assert.equal(BigInt(await chain.storage(stake.address, word)), 0n);
  });

  test("at most 16 withdrawals are under way, and the ring goes round", async () => {
    const node = await register(1, { roles: HOST, bond: 1_000n * VER });
    const to = account("recipient");
    const sum = (list) => list.reduce((total, { amount }) => total + amount, 0n);
    let sent = 0n;
    let paid = 0n;
    for (let turn = 0; turn < 3; turn++) {
      for (let i = 0; i < (turn === 0 ? 16 : 11); i++) {
        sent += BigInt(i + 1);
        await stake.send(node.operator, "unbond", [node.id, BigInt(i + 1)]);
      }
      const list = await stake.read("unbondingsOf", [node.id]);
      assert.equal(list.length, 16);
      assert.equal((await info(node)).unbonding, sum(list));
      await reverts(stake.send(node.operator, "unbond", [node.id, 1n]), "TooManyUnbondings", [16n]);
      // All but the last five are ready in the block of the withdrawal.
      await chain.warpTo(Number(list[10].readyAt) - 1);
      const receipt = await stake.send(node.operator, "withdraw", [node.id, to], { rehearse: false });
      assert.equal(receipt.events[0].args.amount, sum(list.slice(0, 11)));
      paid += receipt.events[0].args.amount;
      assert.equal(await chain.balance(to), paid);
      const left = await stake.read("unbondingsOf", [node.id]);
      assert.deepEqual(left, list.slice(11));
      assert.equal(sum(left), sent - paid);
    }
  });

  test("a bond beyond 128 bits is refused", async () => {
    const node = await register(1, { roles: HOST });
    await chain.fund(node.operator, 2n ** 200n);
    await reverts(stake.read("bond", [node.id], { from: node.operator, value: 2n ** 128n }), "BondTooHigh", [2n ** 128n + MIN[HOST]]);
    await reverts(register(2, { roles: HOST, bond: 2n ** 128n }), "BondTooHigh", [2n ** 128n]);
  });

  test("an operator that calls back gets its money once", async () => {
    const { abi, runtimeCode } = compileTest("test/Attacker.sol", "Attacker");
    const address = account("attacker contract");
    await chain.rpc("anvil_setCode", [address, runtimeCode]);
    await chain.fund(address, 10_000n * VER);
    const attacker = chain.contract("Attacker", { abi, address });
    const run = async (name, args, value = 0n) =>
      attacker.send(account("alice"), "run", [stake.address, value, encodeFunctionData({ abi: stake.abi, functionName: name, args })]);
    await register(2, { roles: HOST, bond: 5_000n * VER }); // somebody else's money
    const node = nodeKey(1);
    await run("register", [node.id, HOST, URL, await chain.bind(node, address)], 1_000n * VER);
    await run("unbond", [node.id, 100n * VER]);
    await run("unbond", [node.id, 100n * VER]);
    await chain.warp(DELAY);

    await attacker.send(account("alice"), "arm", [node.id, 1]);
    await assert.rejects(run("withdraw", [node.id, address]), /.*/);
    const refused = { to: stake.address, from: address, data: encodeFunctionData({ abi: stake.abi, functionName: "withdraw", args: [node.id, address] }) };
    await reverts(stake.read("withdraw", [node.id, address], { from: refused.from }), "TransferFailed", [address]);
    assert.equal(await chain.balance(stake.address), 6_000n * VER);

    await attacker.send(account("alice"), "arm", [node.id, 2]);
    await run("withdraw", [node.id, address]);
    assert.deepEqual([await attacker.read("attempts"), await attacker.read("successes")], [1n, 0n]);
    assert.equal(await chain.balance(stake.address), 5_800n * VER);
    assert.equal(await chain.balance(address), 9_200n * VER);

    await run("unbond", [node.id, 100n * VER]);
    await chain.warp(DELAY);
    await attacker.send(account("alice"), "arm", [node.id, 3]);
    await run("withdraw", [node.id, address]);
    assert.deepEqual([await attacker.read("attempts"), await attacker.read("successes")], [2n, 0n]);
    assert.equal(await chain.balance(stake.address), 5_800n * VER);
    assert.deepEqual((await stake.read("unbondingsOf", [node.id])).map(({ amount }) => amount), [100n * VER]);
  });
});

describe("roles", () => {
  const roles = async (node) => {
    const { roles: offered, leavingRoles } = await info(node);
    return [offered, leavingRoles];
  };
  const has = (node, role) => stake.read("hasRole", [node.id, role]);
  const bonded = (node, role) => stake.read("isBonded", [node.id, role]);

  test("a role that is left is answered for until the delay is over, and so is the money", async () => {
    const node = await register(1, { roles: WORKER | HOST });
    const { events } = await stake.send(node.operator, "setRoles", [node.id, HOST], { gas: "setRoles(leave worker)" });
    const { time } = await chain.block();
    assert.deepEqual(events[0].args, { nodeId: node.id, roles: HOST, left: WORKER, leavesAt: BigInt(time + DELAY) });
    assert.deepEqual(await roles(node), [HOST, WORKER]);
    assert.deepEqual([await has(node, WORKER), await bonded(node, WORKER), await bonded(node, WORKER | HOST)], [false, true, true]);
    // The money that backed it can start at once, but arrives no earlier than the role ends.
    await stake.send(node.operator, "unbond", [node.id, MIN[WORKER]]);
    const [{ readyAt }] = await stake.read("unbondingsOf", [node.id]);
    assert.ok(readyAt >= BigInt(time + DELAY));
    await chain.warpTo(time + DELAY - 1);
    assert.equal(await bonded(node, WORKER), true);
    await chain.warpTo(time + DELAY);
    assert.deepEqual([await bonded(node, WORKER), await bonded(node, HOST), await has(node, HOST)], [false, true, true]);
    assert.deepEqual(await roles(node), [HOST, 0]);
  });

  test("each role keeps its own end", async () => {
    const node = await register(1, { roles: WORKER | HOST });
    await stake.send(node.operator, "setRoles", [node.id, HOST]);
    const first = (await chain.block()).time + DELAY;
    await chain.warpTo(first - 10);
    await stake.send(node.operator, "setRoles", [node.id, 0]);
    const second = (await chain.block()).time + DELAY;
    assert.deepEqual(await roles(node), [0, WORKER | HOST]);
    await chain.warpTo(first);
    assert.deepEqual(await roles(node), [0, HOST]);
    assert.deepEqual((await info(node)).leavesAt, [0n, BigInt(first), BigInt(second), 0n]);
    await chain.warpTo(second);
    assert.deepEqual(await roles(node), [0, 0]);
    assert.equal(await bonded(node, HOST), false);
  });

  test("money does not back a new role while an old one is answered for", async () => {
    const node = await register(1, { roles: HOST });
    // HOST and GATEWAY need the same: an exchange needs both.
    await reverts(stake.send(node.operator, "setRoles", [node.id, GATEWAY]), "BondTooLow", [200n * VER, 100n * VER]);
    await stake.send(node.operator, "setRoles", [node.id, 0]);
    await reverts(stake.send(node.operator, "setRoles", [node.id, GATEWAY]), "BondTooLow", [200n * VER, 100n * VER]);
    await stake.send(node.operator, "setRoles", [node.id, HOST]); // coming back needs nothing more
    assert.deepEqual(await roles(node), [HOST, 0]);
    assert.deepEqual((await info(node)).leavesAt, [0n, 0n, 0n, 0n]);
    await stake.send(node.operator, "setRoles", [node.id, 0]);
    await chain.warp(DELAY);
    await stake.send(node.operator, "setRoles", [node.id, GATEWAY], { gas: "setRoles(take gateway)" });
    assert.deepEqual(await roles(node), [GATEWAY, 0]);
  });

  test("a shorter delay does not let money leave before its role ends", async () => {
    for (const [i, role] of [VALIDATOR, WORKER, HOST, GATEWAY].entries()) {
      const before = await chain.snapshot();
      const node = await register(i, { roles: role });
      await stake.send(node.operator, "setRoles", [node.id, 0]);
      const leavesAt = (await chain.block()).time + DELAY;
      await setParameter("unbond_delay_s", 60n);
      await stake.send(node.operator, "unbond", [node.id, MIN[role]]);
      assert.deepEqual((await stake.read("unbondingsOf", [node.id])).map(({ readyAt }) => readyAt), [BigInt(leavesAt)]);
      await chain.revert(before);
    }
  });

  test("a role that has too little bond does not count, and is over at once when left", async () => {
    const node = await register(1, { roles: HOST });
    await setParameter("bond_min_host_wei", 200n * VER);
    assert.deepEqual([await has(node, HOST), await bonded(node, HOST)], [false, false]);
    await reverts(stake.send(node.operator, "unbond", [node.id, 1n]), "BondTooLow", [200n * VER, 100n * VER - 1n]);
    await stake.send(node.operator, "setRoles", [node.id, 0]);
    assert.deepEqual(await roles(node), [0, 0]);
    assert.equal(await bonded(node, HOST), false);
    await stake.send(node.operator, "unbond", [node.id, MIN[HOST]]); // the way out is open
  });

  test("refuses masks that say nothing new or nothing known", async () => {
    const node = await register(1, { roles: HOST });
    await reverts(stake.send(node.operator, "setRoles", [node.id, HOST]), "SameRoles", [HOST]);
    await reverts(stake.send(node.operator, "setRoles", [node.id, 16]), "BadRoles", [16n]);
    assert.equal(await has(node, 0), false);
    assert.equal(await bonded(node, 0), false);
  });
});

const setParameter = async (name, value) => {
  const parameters = chain.contract("Parameters");
  await chain.setStorage(parameters.address, parameterSlot(name), value);
  assert.equal(await parameters.read("get", [parameterName(name)]), value);
};

describe("election", () => {
  const elect = async (max = 6n) => {
    const [ids, bonds] = await stake.read("validators", [max]);
    return ids.map((id, i) => [id, bonds[i]]);
  };
  const validator = (seed, bond) => register(seed, { roles: VALIDATOR, bond: bond * VER });

  test("orders by bond, then by node id", async () => {
    const a = await validator(1, 10_000n);
    const b = await validator(2, 20_000n);
    const c = await validator(3, 10_000n);
    const [low, high] = [a.id, c.id].sort();
    assert.deepEqual(await elect(), [[b.id, 20_000n * VER], [low, 10_000n * VER], [high, 10_000n * VER]]);
    assert.deepEqual(await elect(2n), [[b.id, 20_000n * VER], [low, 10_000n * VER]]);
    assert.deepEqual(await elect(0n), []);
    assert.deepEqual(await elect(2n ** 256n - 1n), await elect());
    assert.equal(await stake.read("weightOf", [b.id]), 20_000n * VER);
  });

  test("leaving takes effect at once, and standing again needs no new bond", async () => {
    const a = await validator(1, 10_000n);
    const b = await validator(2, 11_000n);
    const left = await stake.send(a.operator, "setRoles", [a.id, 0]);
    assert.deepEqual(left.events.map(({ eventName }) => eventName), ["RolesChanged", "CandidateLeft"]);
    assert.deepEqual(await elect(), [[b.id, 11_000n * VER]]);
    assert.equal(await stake.read("weightOf", [a.id]), 0n);
    assert.equal(await stake.read("isBonded", [a.id, VALIDATOR]), true);
    await stake.send(a.operator, "setRoles", [a.id, VALIDATOR]);
    assert.deepEqual((await elect()).length, 2);
    assert.deepEqual([...(await stake.read("candidateList"))].sort(), [a.id, b.id].sort());
  });

  test("when all places are taken, the lowest gives way to more bond", async () => {
    const nodes = [];
    for (let i = 0; i < 6; i++) nodes.push(await validator(i, 10_000n + BigInt(i) * 1_000n));
    await reverts(validator(10, 10_000n - 1n), "BondTooLow");
    // With an equal bond only a smaller id ranks above.
    const seeds = Array.from({ length: 40 }, (_, i) => 100 + i);
    const larger = seeds.find((seed) => nodeKey(seed).id > nodes[0].id);
    const smaller = seeds.find((seed) => nodeKey(seed).id < nodes[0].id);
    await reverts(register(larger, { roles: VALIDATOR, bond: 10_000n * VER }), "BondBelowCandidates", [10_000n * VER, 10_000n * VER]);
    const tie = await chain.snapshot();
    const { receipt: displaced } = await register(smaller, { roles: VALIDATOR, bond: 10_000n * VER });
    assert.deepEqual(displaced.events.slice(2).map(({ eventName, args }) => [eventName, args.nodeId]),
      [["CandidateLeft", nodes[0].id], ["CandidateJoined", nodeKey(smaller).id]]);
    await chain.revert(tie);
    const lowest = (await elect()).at(-1)[0];
    const { receipt, id } = await register(30, { roles: VALIDATOR, bond: 10_500n * VER, gas: "register(validator, displaces)" });
    assert.deepEqual(receipt.events.map(({ eventName, args }) => [eventName, args.nodeId]), [
      ["Registered", id], ["Bonded", id], ["CandidateLeft", lowest], ["CandidateJoined", id]]);
    assert.equal((await elect()).length, 6);
    // The displaced one has kept its role and its bond, and stands again with more.
    const loser = nodes[0];
    assert.equal(loser.id, lowest);
    assert.deepEqual([(await info(loser)).candidate, (await info(loser)).roles], [false, VALIDATOR]);
    await reverts(stake.send(loser.operator, "stand", [loser.id]), "BondBelowCandidates");
    await stake.send(loser.operator, "bond", [loser.id], { value: 1_000n * VER });
    await stake.send(loser.operator, "stand", [loser.id], { gas: "stand(displaces)" });
    await reverts(stake.send(loser.operator, "stand", [loser.id]), "AlreadyCandidate", [loser.id]);
    assert.ok((await elect()).some(([nodeId]) => nodeId === loser.id));
  });

  test("stand needs the role and the bond", async () => {
    const worker = await register(1, { roles: WORKER, bond: 100_000n * VER });
    await reverts(stake.send(worker.operator, "stand", [worker.id]), "NotValidator", [worker.id]);
    const nodes = [];
    for (let i = 10; i < 17; i++) nodes.push(await validator(i, 10_000n + BigInt(i)));
    await setParameter("bond_min_validator_wei", 20_000n * VER);
    const displaced = nodes[0];
    await reverts(stake.send(displaced.operator, "stand", [displaced.id]), "BondTooLow");
    assert.deepEqual(await elect(), []);
    // One with enough bond takes the place of one that no longer has it, however many there are.
    await stake.send(displaced.operator, "bond", [displaced.id], { value: 10_000n * VER });
    await stake.send(displaced.operator, "stand", [displaced.id]);
    assert.deepEqual((await elect()).map(([id]) => id), [displaced.id]);
  });

  test("a lower cap elects fewer and removes nobody", async () => {
    for (let i = 0; i < 6; i++) await validator(i, 10_000n + BigInt(i));
    const before = await elect();
    await setParameter("validators_max", 3n);
    assert.deepEqual(await elect(3n), before.slice(0, 3));
    await reverts(validator(10, 10_000n), "BondBelowCandidates");
    const node = await validator(11, 50_000n);
    assert.equal((await stake.read("candidateList")).length, 6);
    assert.equal((await elect(3n))[0][0], node.id);
  });

  test("the full list of 128 stays affordable", async () => {
    await setParameter("validators_max", 128n);
    for (let i = 0; i < 128; i++) await validator(1000 + i, 10_000n + BigInt((i * 37) % 64));
    const [ids] = await stake.read("validators", [128n]);
    assert.equal(ids.length, 128);
    const data = encodeFunctionData({ abi: stake.abi, functionName: "validators", args: [128n] });
    const { gasUsed } = await chain.transact({ from: account("alice"), to: stake.address, data });
    chain.gas.set("Stake.validators(128 of 128)", Number(gasUsed));
    assert.ok(Number(gasUsed) < 1_500_000, `${Number(gasUsed)}`);
    await register(5000, { roles: VALIDATOR, bond: 10_001n * VER, gas: "register(validator, displaces 1 of 128)" });
  });
});

test("storage is where the specification says", async () => {
  const node = await register(1, { roles: VALIDATOR | WORKER, bond: 12_345n * VER, endpoint: "x" });
  await stake.send(node.operator, "unbond", [node.id, 5n]);
  const { time } = await chain.block();
  const base = BigInt(keccak256(concat([node.id, numberToHex(0, { size: 32 })])));
  const words = await Promise.all([0n, 1n, 2n, 3n, 4n].map(async (i) => BigInt(await chain.storage(stake.address, base + i))));
  const field = (word, byte, bytes) => (word >> BigInt(8 * byte)) & ((1n << BigInt(8 * bytes)) - 1n);
  assert.equal(field(words[0], 0, 16), 12_345n * VER - 5n);
  assert.equal(field(words[0], 16, 1), BigInt(VALIDATOR | WORKER));
  assert.equal(field(words[0], 17, 2), 1n);
  assert.equal(field(words[0], 20, 1), 1n);
  assert.equal(field(words[1], 0, 20), BigInt(node.operator));
  assert.equal(field(words[1], 20, 8), (await info(node)).registeredAt);
  assert.equal(words[2], 0n);
  assert.equal(field(words[3], 31, 1), 0x78n);
  assert.equal(field(words[4], 0, 16), 5n);
  assert.equal(field(words[4], 16, 8), BigInt(time + DELAY));
  assert.equal(BigInt(await chain.storage(stake.address, 1n)), 1n);
  assert.equal(await chain.storage(stake.address, BigInt(keccak256(numberToHex(1, { size: 32 })))), node.id);
});

test("law: money is conserved and the election is that of a naive model, under random operations", async () => {
  const rng = random(20_261_121);
  const operators = ["alice", "bob", "carol"].map(account);
  const nodes = [];
  const counts = {};
  let time = (await chain.block()).time;
  let cap = 6n;
  const weight = (node) => (node.candidate && node.bond >= required(node.roles) ? node.bond : 0n);
  const above = (x, y) => (weight(x) !== weight(y) ? weight(x) > weight(y) : x.id < y.id);
  const leaving = (node, now) => [0, 1, 2, 3].reduce((mask, i) => (now < node.leavesAt[i] ? mask | (1 << i) : mask), 0);

  // The model: what the call should do, or the error that it should give. `now` is the time that the call sees.
  const stand = (node) => {
    const list = nodes.filter(({ candidate }) => candidate);
    if (BigInt(list.length) < cap) return void (node.candidate = true);
    const lowest = list.reduce((x, y) => (above(x, y) ? y : x));
    const outranks = node.bond !== weight(lowest) ? node.bond > weight(lowest) : node.id < lowest.id;
    if (!outranks) return "BondBelowCandidates";
    lowest.candidate = false;
    node.candidate = true;
  };
  const operations = {
    register: () => {
      const node = { ...nodeKey(`law ${nodes.length}`), operator: rng.pick(operators), leavesAt: [0, 0, 0, 0], queue: [], candidate: false };
      node.roles = rng.chance(0.6) ? VALIDATOR : 1 + rng.below(15);
      // Few different bonds, so that ties are common.
      node.bond = required(node.roles) + BigInt(rng.below(4) - (rng.chance(0.1) ? 1 : 0)) * VER;
      return {
        node, name: "register", value: node.bond,
        args: async () => [node.id, node.roles, "", await chain.bind(node, node.operator)],
        model: () => {
          if (node.bond < required(node.roles)) return "BondTooLow";
          nodes.push(node);
          const error = node.roles & VALIDATOR ? stand(node) : undefined;
          if (error) nodes.pop();
          return error;
        },
      };
    },
    bond: (node) => {
      const value = BigInt(rng.below(3)) * VER;
      return { node, name: "bond", value, args: [node.id], model: () => (value === 0n ? "ZeroAmount" : void (node.bond += value)) };
    },
    unbond: (node) => {
      const amount = rng.chance(0.3) ? node.bond : BigInt(rng.below(4)) * VER;
      return {
        node, name: "unbond", args: [node.id, amount],
        model: (now) => {
          if (amount === 0n) return "ZeroAmount";
          if (amount > node.bond) return "AmountAboveBond";
          if (node.queue.length === 16) return "TooManyUnbondings";
          if (node.bond - amount < required(node.roles)) return "BondTooLow";
          node.bond -= amount;
          node.queue.push({ amount, readyAt: Math.max(now + DELAY, ...node.leavesAt) });
        },
      };
    },
    withdraw: (node) => ({
      node, name: "withdraw", args: [node.id, node.operator],
      model: (now) => {
        let count = 0;
        while (count < node.queue.length && node.queue[count].readyAt <= now) count++;
        if (count === 0) return "NothingToWithdraw";
        node.queue.splice(0, count);
      },
    }),
    setRoles: (node) => {
      const roles = rng.chance(0.4) ? 0 : rng.below(16);
      return {
        node, name: "setRoles", args: [node.id, roles],
        model: (now) => {
          if (roles === node.roles) return "SameRoles";
          const added = roles & ~node.roles;
          const removed = node.bond < required(node.roles) ? 0 : node.roles & ~roles;
          if (added && node.bond < required(roles | removed | leaving(node, now))) return "BondTooLow";
          const undo = structuredClone({ roles: node.roles, leavesAt: node.leavesAt });
          for (let i = 0; i < 4; i++) {
            if (removed & (1 << i)) node.leavesAt[i] = now + DELAY;
            if (added & (1 << i)) node.leavesAt[i] = 0;
          }
          node.roles = roles;
          const error = added & VALIDATOR ? stand(node) : undefined;
          if (error) Object.assign(node, undo);
          else if (!(roles & VALIDATOR)) node.candidate = false;
          return error;
        },
      };
    },
    stand: (node) => ({
      node, name: "stand", args: [node.id],
      model: () => {
        if (!(node.roles & VALIDATOR)) return "NotValidator";
        if (node.candidate) return "AlreadyCandidate";
        return node.bond < required(node.roles) ? "BondTooLow" : stand(node);
      },
    }),
  };
  const names = Object.keys(operations);

  for (let step = 0; step < 1500; step++) {
    if (rng.chance(0.05)) {
      time += 1 + rng.below(DELAY);
      await chain.warpTo(time);
    }
    if (rng.chance(0.02)) {
      cap = BigInt(2 + rng.below(6));
      await setParameter("validators_max", cap);
    }
    const name = nodes.length < 4 || rng.chance(0.1) ? "register" : rng.pick(names);
    const { node, value = 0n, args, model } = operations[name](rng.pick(nodes));
    const ready = typeof args === "function" ? await args() : args;
    // A transaction is in the next block, one second later.
    time += 1;
    const expected = model(time);
    counts[`${name} ${expected ?? "ok"}`] = (counts[`${name} ${expected ?? "ok"}`] ?? 0) + 1;
    if (expected) {
      await chain.warpTo(time);
      await reverts(stake.read(name, ready, { from: node.operator, value }), expected);
    } else {
      await stake.send(node.operator, name, ready, { value, rehearse: false });
    }
    if (step % 5 !== 0) continue;
    const inside = nodes.reduce((sum, { bond, queue }) => sum + bond + queue.reduce((total, { amount }) => total + amount, 0n), 0n);
    assert.equal(await chain.balance(stake.address), inside, `step ${step}: balance`);
    const elected = nodes.filter((x) => weight(x) > 0n).sort((x, y) => (above(x, y) ? -1 : 1));
    const max = BigInt(rng.below(9));
    const [ids, bonds] = await stake.read("validators", [max]);
    assert.deepEqual(ids, elected.slice(0, Number(max)).map(({ id }) => id), `step ${step}: order`);
    assert.deepEqual(bonds, elected.slice(0, Number(max)).map(({ bond }) => bond), `step ${step}: bonds`);
    const probe = rng.pick(nodes);
    const seen = await info(probe);
    const waiting = probe.queue.reduce((sum, { amount }) => sum + amount, 0n);
    assert.deepEqual([seen.bond, seen.roles, seen.candidate, seen.leavingRoles, seen.unbonding],
      [probe.bond, probe.roles, probe.candidate, leaving(probe, time), waiting], `step ${step}: node`);
  }
  for (const name of names) assert.ok(counts[`${name} ok`] > 0, `${name}: ${JSON.stringify(counts)}`);
});

test("every error of the contract was reached", () => {
  allErrorsSeen(stake);
  printGas(chain);
});
