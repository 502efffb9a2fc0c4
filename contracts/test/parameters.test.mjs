import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { encodeAbiParameters, hexToString, keccak256, stringToHex } from "viem";
import { GENESIS_VALIDATORS_MAX_SLOT, genesisParameters, parameterName, parameterSlot } from "../scripts/genesis.mjs";
import { Chain, ROLE, VER, account, nodeKey } from "./support/chain.mjs";
import { allErrorsSeen, printGas, random, reverts } from "./support/checks.mjs";

const DAY = 86_400;
const DELAY = 3 * DAY;
const PERIOD = 14 * DAY;
const WINDOW = 14 * DAY;
const HOSTS = parameterName("hosts_per_model");
/** Parameters that keep their first value. */
const FIXED = ["epoch_blocks", "heartbeat_ms"];

let chain, stake, parameters, clean;
before(async () => {
  chain = await Chain.start();
  stake = chain.contract("Stake");
  parameters = chain.contract("Parameters");
});
after(() => chain.stop());
beforeEach(async () => (clean = await chain.snapshot()));
afterEach(() => chain.revert(clean));

/** A validator with an operator of its own and a bond in thousands of VER. */
async function validator(seed, thousands, roles = ROLE.VALIDATOR) {
  const node = { ...nodeKey(`validator ${seed}`), operator: account(`operator ${seed}`) };
  await chain.fund(node.operator);
  const proof = await chain.bind(node, node.operator);
  await stake.send(node.operator, "register", [node.id, roles, "", proof], { value: BigInt(thousands) * 1_000n * VER });
  return node;
}
const validators = async (...bonds) => {
  const list = [];
  for (const [seed, bond] of bonds.entries()) list.push(await validator(seed, bond));
  return list;
};
async function propose(node, name = "hosts_per_model", value = 5n, options) {
  const { events } = await parameters.send(node.operator, "propose", [node.id, parameterName(name), value], options);
  return events[0].args.id;
}
const approve = (node, id, options) => parameters.send(node.operator, "approve", [id, node.id], options);
const revoke = (node, id) => parameters.send(node.operator, "revoke", [id, node.id]);
const anyone = account("anyone");
const queue = (id, options) => parameters.send(anyone, "queue", [id], options);
const execute = (id, options) => parameters.send(anyone, "execute", [id], options);
const canExecute = (id) => parameters.read("execute", [id], { from: anyone });
const get = (name) => parameters.read("get", [parameterName(name)]);
const proposal = (id) => parameters.read("proposal", [id]);

describe("values", () => {
  test("the genesis values are complete, in range, fit each other, and lie in their slots", async () => {
    const genesis = genesisParameters();
    const names = (await parameters.read("names")).map((name) => hexToString(name, { size: 32 }).replace(/\0+$/, ""));
    assert.deepEqual(names, Object.keys(genesis));
    const [node] = await validators(10);
    for (const name of names) {
      const [min, max] = await parameters.read("range", [parameterName(name)]);
      assert.ok(min > 0n && min <= max, name);
      assert.equal(await get(name), BigInt(genesis[name]));
      assert.equal(BigInt(await chain.storage(parameters.address, parameterSlot(name))), BigInt(genesis[name]));
      if (FIXED.includes(name)) continue;
      // Proposing the value that it has runs every check on it.
      await propose(node, name, BigInt(genesis[name]));
      await reverts(propose(node, name, min - 1n), "OutOfRange", [parameterName(name), min - 1n, min, max]);
      await reverts(propose(node, name, max + 1n), "OutOfRange", [parameterName(name), max + 1n, min, max]);
      await reverts(propose(node, name, 2n ** 256n - 1n), "OutOfRange");
    }
  });

  test("unknown names are refused", async () => {
    const [node] = await validators(10);
    for (const name of ["", "heartbeat", "heartbeat_ms ", "HEARTBEAT_MS"]) {
      const hex = name ? stringToHex(name, { size: 32 }) : `0x${"00".repeat(32)}`;
      await reverts(parameters.read("get", [hex]), "UnknownParameter", [hex]);
      await reverts(parameters.read("range", [hex]), "UnknownParameter", [hex]);
      await reverts(parameters.send(node.operator, "propose", [node.id, hex, 1n]), "UnknownParameter", [hex]);
    }
  });

  test("the unbonding delay outlasts the epochs", async () => {
    const [node] = await validators(10);
    // 4 epochs of 3600 blocks of 1 s.
    await reverts(propose(node, "unbond_delay_s", 14_399n), "UnbondDelayTooShort", [14_400n, 14_399n]);
    await propose(node, "unbond_delay_s", 14_400n);
    // Part of a second counts as one.
    await setParameter("epoch_blocks", 3_601n);
    await setParameter("heartbeat_ms", 999n);
    await reverts(propose(node, "unbond_delay_s", 14_389n), "UnbondDelayTooShort", [14_390n, 14_389n]);
    await propose(node, "unbond_delay_s", 14_390n);
  });

  test("what nodes count with from genesis cannot be voted on", async () => {
    const [node] = await validators(10);
    for (const name of FIXED) {
      const [min, max] = await parameters.read("range", [parameterName(name)]);
      for (const value of [0n, min, await get(name), max]) {
        await reverts(propose(node, name, value), "FixedAtGenesis", [parameterName(name)]);
      }
    }
  });

  test("the committee can shrink and grow again, but never above its size at genesis", async () => {
    const [node] = await validators(10);
    const name = parameterName("validators_max");
    assert.equal(await parameters.read("genesisValidatorsMax"), 64n);
    assert.equal(BigInt(await chain.storage(parameters.address, GENESIS_VALIDATORS_MAX_SLOT)), 64n);
    const above = async () => {
      await reverts(propose(node, "validators_max", 65n), "AboveGenesis", [name, 64n]);
      await reverts(propose(node, "validators_max", 128n), "AboveGenesis", [name, 64n]);
    };
    await above();
    await pass(node, "validators_max", 7n);
    assert.equal(await get("validators_max"), 7n);
    await above();
    await pass(node, "validators_max", 64n);
    assert.equal(await get("validators_max"), 64n);
    assert.equal(await parameters.read("genesisValidatorsMax"), 64n);
  });
});

/** Carries a change out with the votes of one validator. */
async function pass(node, name, value) {
  const id = await propose(node, name, value);
  await queue(id);
  await chain.warp(DELAY);
  await execute(id);
}

async function setParameter(name, value) {
  await chain.setStorage(parameters.address, parameterSlot(name), value);
}

describe("the way of a proposal", () => {
  test("propose, approve, queue, wait, execute", async () => {
    const nodes = await validators(10, 10, 10, 10);
    const proposed = await parameters.send(nodes[0].operator, "propose", [nodes[0].id, HOSTS, 5n], { gas: "propose" });
    const { time } = await chain.block();
    assert.deepEqual(proposed.events.map(({ eventName, args }) => [eventName, args]), [
      ["Proposed", { id: 1n, name: HOSTS, nodeId: nodes[0].id, value: 5n, expiresAt: BigInt(time + PERIOD) }],
      ["Approved", { id: 1n, nodeId: nodes[0].id }],
    ]);
    assert.deepEqual(await parameters.read("tally", [1n]), [10_000n * VER, 40_000n * VER]);
    await reverts(queue(1n), "NotEnoughApproval", [10_000n * VER, 40_000n * VER]);
    const approved = await approve(nodes[1], 1n, { gas: "approve" });
    assert.deepEqual([approved.events[0].eventName, approved.events[0].args], ["Approved", { id: 1n, nodeId: nodes[1].id }]);
    await approve(nodes[2], 1n);
    assert.equal(await parameters.read("approves", [1n, nodes[2].id]), true);
    assert.equal(await parameters.read("approves", [1n, nodes[3].id]), false);
    await reverts(execute(1n), "NotQueued", [1n]);
    const queued = await queue(1n, { gas: "queue(4 validators)" });
    const readyAt = (await chain.block()).time + DELAY;
    assert.deepEqual(queued.events[0].args, { id: 1n, readyAt: BigInt(readyAt) });
    await reverts(queue(1n), "AlreadyQueued", [1n, BigInt(readyAt)]);
    await reverts(execute(1n), "TooEarly", [1n, BigInt(readyAt)]);
    await chain.warpTo(readyAt - 1);
    await reverts(canExecute(1n), "TooEarly", [1n, BigInt(readyAt)]);
    assert.equal(await get("hosts_per_model"), 3n);
    await chain.warpTo(readyAt);
    await canExecute(1n);
    const executed = await execute(1n, { gas: "execute(4 validators)" });
    assert.deepEqual(executed.events[0].args, { id: 1n, name: HOSTS, previous: 3n, value: 5n });
    assert.equal(await get("hosts_per_model"), 5n);
    assert.equal(BigInt(await chain.storage(parameters.address, parameterSlot("hosts_per_model"))), 5n);
    assert.deepEqual(await proposal(1n), { name: HOSTS, value: 5n, expiresAt: BigInt(time + PERIOD), readyAt: BigInt(readyAt), executed: true });
    for (const call of [() => execute(1n), () => queue(1n), () => approve(nodes[3], 1n), () => revoke(nodes[0], 1n)]) {
      await reverts(call(), "AlreadyExecuted", [1n]);
    }
    assert.equal(await parameters.read("proposalCount"), 1n);
  });

  test("exactly two thirds are not enough, one wei more is", async () => {
    const [a, b] = [await validator("a", 20), await validator("b", 10)];
    const id = await propose(a);
    await reverts(queue(id), "NotEnoughApproval", [20_000n * VER, 30_000n * VER]);
    await stake.send(a.operator, "bond", [a.id], { value: 1n });
    await queue(id);
    assert.equal(await parameters.read("approves", [id, b.id]), false);
  });

  test("only operators of validators take part, each for its own node, and once", async () => {
    const [a, b] = await validators(10, 10);
    const worker = await validator("worker", 50, ROLE.WORKER);
    const id = await propose(a);
    await reverts(parameters.send(b.operator, "propose", [a.id, HOSTS, 5n]), "NotOperator", [a.id, a.operator, b.operator]);
    await reverts(parameters.send(b.operator, "approve", [id, a.id]), "NotOperator");
    await reverts(parameters.send(b.operator, "revoke", [id, a.id]), "NotOperator");
    await reverts(propose(worker), "NotActiveValidator", [worker.id]);
    await reverts(approve(worker, id), "NotActiveValidator", [worker.id]);
    const unknown = { ...nodeKey("unknown"), operator: a.operator };
    await reverts(approve(unknown, id), "UnknownNode", [unknown.id]);
    await reverts(approve(a, id), "AlreadyApproved", [id, a.id]);
    await reverts(revoke(b, id), "NotApproved", [id, b.id]);
    for (const id of [0n, 2n]) {
      for (const call of [() => approve(a, id), () => revoke(a, id), () => queue(id), () => execute(id), () => proposal(id)]) {
        await reverts(call(), "UnknownProposal", [id]);
      }
    }
  });

  test("an approval taken back does not count", async () => {
    const nodes = await validators(10, 10, 10);
    const id = await propose(nodes[0]);
    await approve(nodes[1], id);
    await approve(nodes[2], id);
    const { events } = await revoke(nodes[1], id);
    assert.deepEqual(events[0].args, { id, nodeId: nodes[1].id });
    await reverts(queue(id), "NotEnoughApproval", [20_000n * VER, 30_000n * VER]);
    await approve(nodes[1], id);
    await queue(id);
    // While it waits too.
    await revoke(nodes[1], id);
    await chain.warp(DELAY);
    await reverts(execute(id), "NotEnoughApproval");
    await approve(nodes[1], id);
    await execute(id);
  });

  test("a proposal that nobody queues ends, and so does one that nobody executes", async () => {
    const [a, b] = await validators(10, 10);
    const id = await propose(a);
    const { expiresAt } = await proposal(id);
    await approve(b, id);
    await chain.warpTo(Number(expiresAt));
    await parameters.read("queue", [id], { from: anyone });
    await chain.warpTo(Number(expiresAt) + 1);
    for (const call of [() => queue(id), () => approve(b, id), () => revoke(b, id)]) await reverts(call(), "Expired", [id, expiresAt]);

    const other = await propose(a);
    await approve(b, other);
    await queue(other);
    const { readyAt } = await proposal(other);
    const end = readyAt + BigInt(WINDOW);
    await chain.warpTo(Number(end));
    await canExecute(other);
    await chain.warpTo(Number(end) + 1);
    await reverts(canExecute(other), "Expired", [other, end]);
    assert.equal(await get("hosts_per_model"), 3n);
  });

  test("checks again when it executes", async () => {
    const [a] = await validators(10);
    const id = await propose(a);
    await queue(id);
    await chain.warp(DELAY);
    // No call makes such proposals: they are written into storage, as a fault elsewhere might.
    const slot = BigInt(keccak256(encodeAbiParameters([{ type: "uint256" }, { type: "uint256" }], [id, 1n])));
    const cases = [
      ["epoch_blocks", 512n, "FixedAtGenesis"],
      ["heartbeat_ms", 2_000n, "FixedAtGenesis"],
      ["validators_max", 65n, "AboveGenesis"],
      ["unbond_delay_s", 14_399n, "UnbondDelayTooShort"],
      ["hosts_per_model", 33n, "OutOfRange"],
      ["heartbeat", 1n, "UnknownParameter"],
    ];
    for (const [name, value, error] of cases) {
      await chain.setStorage(parameters.address, slot, parameterName(name));
      await chain.setStorage(parameters.address, slot + 1n, value);
      await reverts(execute(id), error);
    }
  });
});

describe("what does not help an attacker", () => {
  test("approving, then leaving: the vote goes with the bond", async () => {
    const nodes = await validators(30, 10, 10);
    const id = await propose(nodes[0]);
    await approve(nodes[1], id);
    assert.deepEqual(await parameters.read("tally", [id]), [40_000n * VER, 50_000n * VER]);
    await stake.send(nodes[0].operator, "unbond", [nodes[0].id, 20_000n * VER]);
    assert.deepEqual(await parameters.read("tally", [id]), [20_000n * VER, 30_000n * VER]);
    await stake.send(nodes[0].operator, "setRoles", [nodes[0].id, 0]);
    assert.deepEqual(await parameters.read("tally", [id]), [10_000n * VER, 20_000n * VER]);
    await reverts(queue(id), "NotEnoughApproval", [10_000n * VER, 20_000n * VER]);
    await reverts(approve(nodes[0], id), "NotActiveValidator");
    await revoke(nodes[0], id); // its approval can still be taken back
  });

  test("bond that appears for one block: it must be there again after the delay", async () => {
    const honest = await validators(10, 10, 10);
    const rich = await validator("rich", 70);
    const id = await propose(rich);
    await queue(id);
    await stake.send(rich.operator, "setRoles", [rich.id, 0]);
    await stake.send(rich.operator, "unbond", [rich.id, 70_000n * VER]);
    await chain.warp(DELAY + 1);
    await reverts(execute(id), "NotEnoughApproval", [0n, 30_000n * VER]);
    assert.equal(honest.length, 3);
  });

  test("the same money twice: what moves to another node is not bonded meanwhile", async () => {
    const [a] = await validators(10, 10, 10);
    const id = await propose(a);
    await stake.send(a.operator, "setRoles", [a.id, 0]);
    await stake.send(a.operator, "unbond", [a.id, 10_000n * VER]);
    await reverts(stake.send(a.operator, "withdraw", [a.id, a.operator]), "NothingToWithdraw");
    assert.deepEqual(await parameters.read("tally", [id]), [0n, 20_000n * VER]);
  });

  test("a validator that is no longer among the first has no weight", async () => {
    const nodes = await validators(10, 20, 30, 40);
    const id = await propose(nodes[0]);
    await setParameter("validators_max", 3n);
    assert.deepEqual(await parameters.read("tally", [id]), [0n, 90_000n * VER]);
  });

  test("nobody can pass anything when there is no validator", async () => {
    const [a] = await validators(10);
    const id = await propose(a);
    await stake.send(a.operator, "setRoles", [a.id, 0]);
    assert.deepEqual(await parameters.read("tally", [id]), [0n, 0n]);
    await reverts(queue(id), "NotEnoughApproval", [0n, 0n]);
  });

  test("a shorter delay is itself delayed, and does not shorten what is queued", async () => {
    const [a] = await validators(10);
    await setParameter("governance_delay_s", 10 * DAY);
    const first = await propose(a);
    const second = await propose(a, "governance_delay_s", BigInt(DAY));
    await queue(second);
    await queue(first);
    const { readyAt } = await proposal(first);
    await chain.warp(10 * DAY - 10);
    await reverts(execute(second), "TooEarly");
    await chain.warp(10);
    await execute(second);
    assert.equal(await get("governance_delay_s"), BigInt(DAY));
    assert.equal((await proposal(first)).readyAt, readyAt);
    await reverts(propose(a, "governance_delay_s", BigInt(DAY) - 1n), "OutOfRange");
  });

  test("there is no way to send money in, and no other function that writes", async () => {
    const { status } = await chain.transact({ from: account("operator 0"), to: parameters.address, value: "0x0", data: "0x" });
    assert.equal(status, "0x0");
    const writers = parameters.abi.filter(({ type, stateMutability }) => type === "function" && !["view", "pure"].includes(stateMutability));
    assert.deepEqual(writers.map(({ name }) => name).sort(), ["approve", "execute", "propose", "queue", "revoke"]);
  });
});

test("law: nothing passes without more than two thirds of the bond, under random votes", async () => {
  const rng = random(3);
  const nodes = [];
  for (let i = 0; i < 7; i++) nodes.push(await validator(`law ${i}`, 10 + rng.below(40)));
  const bonds = new Map(nodes.map(({ id }) => [id, 0n]));
  const outcomes = { passed: 0, refused: 0 };
  for (let round = 0; round < 25; round++) {
    const [ids, amounts] = await stake.read("validators", [64n]);
    nodes.forEach(({ id }) => bonds.set(id, 0n));
    ids.forEach((id, i) => bonds.set(id, amounts[i]));
    const active = nodes.filter(({ id }) => bonds.get(id) > 0n);
    const proposer = rng.pick(active);
    const approving = new Set([proposer.id]);
    const id = await propose(proposer, "hosts_per_model", 1n + BigInt(round));
    for (const node of active) {
      if (node !== proposer && rng.chance(0.65)) {
        await approve(node, id);
        approving.add(node.id);
        if (rng.chance(0.2)) {
          await revoke(node, id);
          approving.delete(node.id);
        }
      }
    }
    const leaver = rng.pick(active);
    if (rng.chance(0.3)) {
      await stake.send(leaver.operator, "setRoles", [leaver.id, 0]);
      bonds.set(leaver.id, 0n);
    }
    const total = [...bonds.values()].reduce((sum, bond) => sum + bond, 0n);
    const approved = [...approving].reduce((sum, node) => sum + bonds.get(node), 0n);
    assert.deepEqual(await parameters.read("tally", [id]), [approved, total]);
    if (approved * 3n > total * 2n) {
      await queue(id);
      outcomes.passed++;
    } else {
      await reverts(queue(id), "NotEnoughApproval", [approved, total]);
      outcomes.refused++;
    }
    if (bonds.get(leaver.id) === 0n) await stake.send(leaver.operator, "setRoles", [leaver.id, ROLE.VALIDATOR]);
  }
  assert.ok(outcomes.passed > 4 && outcomes.refused > 4, JSON.stringify(outcomes));
});

test("a tally of 64 validators stays affordable", async () => {
  const nodes = [];
  for (let i = 0; i < 64; i++) nodes.push(await validator(`many ${i}`, 10));
  const id = await propose(nodes[0]);
  for (const node of nodes.slice(1, 50)) await approve(node, id);
  await queue(id, { gas: "queue(64 validators)" });
});

test("every error of the contract was reached", () => {
  allErrorsSeen(parameters);
  printGas(chain);
});
