import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { concat, keccak256, numberToHex, stringToHex, toHex } from "viem";
import { Chain, ROLE, account, nodeKey } from "./support/chain.mjs";
import { allErrorsSeen, printGas, random, reverts } from "./support/checks.mjs";

const [alice, bob] = [account("alice"), account("bob")];
const ZERO = "0x0000000000000000000000000000000000000000";
const modelId = (seed) => keccak256(toHex(`model ${seed}`));
const root = `0x${"22".repeat(32)}`;

let chain, stake, models, clean;
before(async () => {
  chain = await Chain.start();
  stake = chain.contract("Stake");
  models = chain.contract("Models");
});
after(() => chain.stop());
beforeEach(async () => (clean = await chain.snapshot()));
afterEach(() => chain.revert(clean));

const publish = (seed, { from = alice, id = modelId(seed), name = "veracity/digits-cnn", version = `1.0.${seed}`,
  licence = "MIT OR Apache-2.0", size = 123_456n, manifestRoot = root, request = 7n, mac = 3n, gas } = {}) =>
  models.send(from, "publish", [id, name, version, licence, size, manifestRoot, request, mac], { gas });
async function host(seed, roles = ROLE.HOST) {
  const node = { ...nodeKey(`host ${seed}`), operator: account(`host operator ${seed}`) };
  await chain.fund(node.operator);
  const value = await stake.read("requiredBond", [roles]);
  await stake.send(node.operator, "register", [node.id, roles, "", await chain.bind(node, node.operator)], { value });
  return node;
}
const announce = (id, node, options) => models.send(node.operator, "announce", [id, node.id], options);
const retract = (id, node, options) => models.send(node.operator, "retract", [id, node.id], options);

describe("publish", () => {
  test("stores what was given and emits it", async () => {
    const { events } = await publish(0, { gas: "publish(new name)" });
    const { time } = await chain.block();
    const id = modelId(0);
    const nameHash = keccak256(stringToHex("veracity/digits-cnn"));
    assert.deepEqual(await models.read("model", [id]), {
      owner: alice, name: "veracity/digits-cnn", version: "1.0.0", licence: "MIT OR Apache-2.0", sizeBytes: 123_456n,
      manifestRoot: root, pricePerRequest: 7n, pricePerMegaMac: 3n, publishedAt: BigInt(time), hosts: 0n,
    });
    assert.deepEqual(events.map(({ eventName, args }) => [eventName, args]), [
      ["Published", { modelId: id, nameHash, owner: alice, name: "veracity/digits-cnn", version: "1.0.0",
        licence: "MIT OR Apache-2.0", sizeBytes: 123_456n, manifestRoot: root }],
      ["PriceSet", { modelId: id, pricePerRequest: 7n, pricePerMegaMac: 3n }],
    ]);
    await publish(1, { gas: "publish(next version)" });
  });

  test("versions are appended; the latest is what was published last", async () => {
    await publish(0, { version: "2.0.0" });
    await publish(1, { version: "1.9.9" });
    const name = "veracity/digits-cnn";
    assert.equal(await models.read("resolve", [name]), modelId(1));
    assert.equal(await models.read("resolve", [name, "2.0.0"]), modelId(0));
    assert.equal(await models.read("versionCount", [name]), 2n);
    assert.deepEqual(await models.read("versionPage", [name, 0n, 256n]), [modelId(0), modelId(1)]);
    assert.deepEqual(await models.read("versionPage", [name, 1n, 1n]), [modelId(1)]);
    await reverts(publish(2, { version: "2.0.0" }), "VersionExists", [modelId(0)]);
    await reverts(publish(0, { version: "3" }), "AlreadyPublished", [modelId(0)]);
    await reverts(publish(0, { from: bob, name: "other", version: "1" }), "AlreadyPublished", [modelId(0)]);
    await reverts(models.read("resolve", [name, "3"]), "UnknownVersion", [name, "3"]);
    await reverts(models.read("resolve", ["nobody"]), "UnknownName", ["nobody"]);
    await reverts(models.read("resolve", ["nobody", "1"]), "UnknownName", ["nobody"]);
    await reverts(models.read("versionPage", [name, 0n, 257n]), "PageTooLarge", [257n, 256n]);
  });

  test("a name belongs to whoever used it first, until it is passed on", async () => {
    await publish(0);
    const name = "veracity/digits-cnn";
    await reverts(publish(1, { from: bob }), "NotNameOwner", [alice]);
    await reverts(models.send(bob, "transferName", [name, bob]), "NotNameOwner", [alice]);
    await reverts(models.send(alice, "transferName", [name, ZERO]), "ZeroOwner");
    await reverts(models.send(alice, "transferName", ["nobody", bob]), "UnknownName", ["nobody"]);
    const { events } = await models.send(alice, "transferName", [name, bob], { gas: "transferName" });
    assert.deepEqual(events[0].args, { nameHash: keccak256(stringToHex(name)), from: alice, to: bob });
    assert.equal(await models.read("ownerOf", [name]), bob);
    await reverts(publish(1), "NotNameOwner", [bob]);
    await reverts(models.send(alice, "setPrice", [modelId(0), 0n, 0n]), "NotNameOwner", [bob]);
    await publish(1, { from: bob });
    assert.equal((await models.read("model", [modelId(0)])).owner, bob);
  });

  test("needs every field", async () => {
    const zero = `0x${"00".repeat(32)}`;
    const cases = [["modelId", { id: zero }], ["sizeBytes", { size: 0n }], ["manifestRoot", { manifestRoot: zero }], ["name", { name: "" }],
      ["version", { version: "" }], ["licence", { licence: "" }]];
    for (const [field, fields] of cases) await reverts(publish(0, fields), "Missing", [field]);
    await publish(0, { request: 0n, mac: 0n });
  });

  test("limits and alphabets", async () => {
    await reverts(publish(0, { name: "a".repeat(97) }), "TooLong", ["name", 97n, 96n]);
    await reverts(publish(0, { version: "1".repeat(32) }), "TooLong", ["version", 32n, 31n]);
    await reverts(publish(0, { licence: "x".repeat(129) }), "TooLong", ["licence", 129n, 128n]);
    const bad = {
      name: [["A", 0], ["aB", 1], ["a b", 1], ["a..b", 2], ["a//b", 2], ["../a", 0], ["/a", 0], ["a/", 1], [".a", 0], ["a-", 1], ["-a", 0], ["_", 0],
        ["a./b", 2], ["a/.b", 2], ["a\u0000", 1], ["a\u00e9", 1], ["\u0430", 0], ["a:b", 1], ["a@b", 1], ["a`b", 1], ["a{", 1]],
      version: [["1/2", 1], ["1..2", 2], ["v1.", 2], ["1.0+b", 3], ["V1", 0]],
      licence: [["MIT\n", 3], ["caf\u00e9", 3], ["\t", 0], ["a\u007f", 1]],
    };
    for (const [field, cases] of Object.entries(bad)) {
      for (const [text, position] of cases) await reverts(publish(0, { [field]: text }), "BadText", [field, BigInt(position)]);
    }
    const good = ["a", "0", "z", "9", "a/b/c", "llama-3.1_8b.q4", "a".repeat(96), "0-1.2_3/4"];
    for (const [i, name] of good.entries()) await publish(100 + i, { name, version: "1".repeat(31), licence: " ~".repeat(64) });
    for (const [i, version] of ["1", "1.0.0-rc.1", "2026-11-21", "v1_2"].entries()) await publish(200 + i, { version });
  });

  test("only the price changes, by the owner of the name", async () => {
    await publish(0);
    await reverts(models.send(bob, "setPrice", [modelId(0), 1n, 1n]), "NotNameOwner", [alice]);
    await reverts(models.send(alice, "setPrice", [modelId(9), 1n, 1n]), "UnknownModel", [modelId(9)]);
    const max = 2n ** 128n - 1n;
    const { events } = await models.send(alice, "setPrice", [modelId(0), max, 0n], { gas: "setPrice" });
    assert.deepEqual(events[0].args, { modelId: modelId(0), pricePerRequest: max, pricePerMegaMac: 0n });
    const { pricePerRequest, pricePerMegaMac } = await models.read("model", [modelId(0)]);
    assert.deepEqual([pricePerRequest, pricePerMegaMac], [max, 0n]);
    await reverts(models.read("model", [modelId(9)]), "UnknownModel");
  });

  test("law: names and versions are unique and resolve as a model says, under random publications", async () => {
    const rng = random(77);
    const people = [alice, bob, account("carol")];
    const names = new Map(); // name -> { owner, versions: Map(version -> id), list }
    const published = new Map();
    for (let step = 0; step < 150; step++) {
      const from = rng.pick(people);
      const name = `n${rng.below(6)}`;
      const version = `${rng.below(8)}`;
      const id = modelId(rng.below(120));
      const entry = names.get(name);
      if (entry && rng.chance(0.1)) {
        const to = rng.pick(people);
        const transfer = models.send(from, "transferName", [name, to]);
        if (entry.owner !== from) await reverts(transfer, "NotNameOwner", [entry.owner]);
        else {
          await transfer;
          entry.owner = to;
        }
        continue;
      }
      const call = publish(0, { from, id, name, version });
      if (published.has(id)) await reverts(call, "AlreadyPublished", [id]);
      else if (entry && entry.owner !== from) await reverts(call, "NotNameOwner", [entry.owner]);
      else if (entry?.versions.has(version)) await reverts(call, "VersionExists", [entry.versions.get(version)]);
      else {
        await call;
        const target = entry ?? { owner: from, versions: new Map(), list: [] };
        names.set(name, target);
        target.versions.set(version, id);
        target.list.push(id);
        published.set(id, [name, version]);
      }
    }
    assert.ok(published.size > 25, `${published.size}`);
    assert.equal(await models.read("modelCount"), BigInt(published.size));
    assert.deepEqual(await models.read("modelPage", [0n, 256n]), [...published.keys()]);
    for (const [name, { owner, versions, list }] of names) {
      assert.equal(await models.read("ownerOf", [name]), owner);
      assert.equal(await models.read("resolve", [name]), list.at(-1));
      assert.deepEqual(await models.read("versionPage", [name, 0n, 256n]), list);
      for (const [version, id] of versions) assert.equal(await models.read("resolve", [name, version]), id);
    }
    for (const [id, [name, version]] of published) {
      const info = await models.read("model", [id]);
      assert.deepEqual([info.name, info.version, info.owner], [name, version, names.get(name).owner]);
    }
  });
});

describe("hosts", () => {
  const list = async (id, offset = 0n, count = 256n) => {
    const [nodeIds, good] = await models.read("hosts", [id, offset, count]);
    return nodeIds.map((node, i) => [node, good[i]]);
  };

  test("announce and retract", async () => {
    await publish(0);
    const id = modelId(0);
    const [a, b, c] = [await host("a"), await host("b"), await host("c", ROLE.HOST | ROLE.WORKER)];
    const { events } = await announce(id, a, { gas: "announce(first host)" });
    assert.deepEqual([events[0].eventName, events[0].args], ["Announced", { modelId: id, nodeId: a.id }]);
    await announce(id, b, { gas: "announce" });
    await announce(id, c);
    assert.deepEqual(await list(id), [[a.id, true], [b.id, true], [c.id, true]]);
    assert.deepEqual(await list(id, 1n, 1n), [[b.id, true]]);
    assert.deepEqual(await list(id, 3n, 1n), []);
    assert.equal(await models.read("hostCount", [id]), 3n);
    assert.equal((await models.read("model", [id])).hosts, 3n);
    await reverts(announce(id, a), "AlreadyAnnounced", [id, a.id]);
    const gone = await retract(id, a, { gas: "retract" });
    assert.deepEqual([gone.events[0].eventName, gone.events[0].args], ["Retracted", { modelId: id, nodeId: a.id }]);
    assert.deepEqual(await list(id), [[c.id, true], [b.id, true]]);
    await reverts(retract(id, a), "NotAnnounced", [id, a.id]);
    assert.equal(await models.read("isAnnounced", [id, a.id]), false);
    assert.equal(await models.read("isAnnounced", [id, b.id]), true);
    await reverts(models.read("hosts", [id, 0n, 257n]), "PageTooLarge", [257n, 256n]);
  });

  test("is for operators of bonded hosts, and for known models", async () => {
    await publish(0);
    const id = modelId(0);
    const a = await host("a");
    const worker = await host("w", ROLE.WORKER);
    await reverts(models.send(bob, "announce", [id, a.id]), "NotOperator", [a.id, a.operator, bob]);
    await reverts(models.send(bob, "retract", [id, a.id]), "NotOperator");
    await reverts(announce(id, { ...nodeKey("unknown"), operator: bob }), "UnknownNode");
    await reverts(announce(id, worker), "NotBondedHost", [worker.id]);
    await reverts(announce(modelId(9), a), "UnknownModel", [modelId(9)]);
  });

  test("one that is no longer a host is marked, and anyone can remove it", async () => {
    await publish(0);
    const id = modelId(0);
    const [a, b] = [await host("a"), await host("b")];
    await announce(id, a);
    await announce(id, b);
    await reverts(models.send(bob, "prune", [id, a.id]), "StillHost", [a.id]);
    await stake.send(a.operator, "setRoles", [a.id, 0]);
    assert.deepEqual(await list(id), [[a.id, false], [b.id, true]]);
    await models.send(bob, "prune", [id, a.id], { gas: "prune" });
    assert.deepEqual(await list(id), [[b.id, true]]);
    await reverts(models.send(bob, "prune", [id, a.id]), "NotAnnounced", [id, a.id]);
    await reverts(announce(id, a), "NotBondedHost", [a.id]);
    await stake.send(a.operator, "setRoles", [a.id, ROLE.HOST]);
    await announce(id, a);
  });

  test("law: the list is the set of those who announced, under random operations", async () => {
    const rng = random(4);
    for (let i = 0; i < 3; i++) await publish(i);
    const nodes = [];
    for (let i = 0; i < 8; i++) nodes.push(await host(i));
    const sets = [0, 1, 2].map(() => new Set());
    for (let step = 0; step < 150; step++) {
      const [model, node] = [rng.below(3), rng.pick(nodes)];
      const set = sets[model];
      if (rng.chance(0.5)) {
        if (set.has(node.id)) await reverts(announce(modelId(model), node), "AlreadyAnnounced");
        else await announce(modelId(model), node);
        set.add(node.id);
      } else {
        if (set.has(node.id)) await retract(modelId(model), node);
        else await reverts(retract(modelId(model), node), "NotAnnounced");
        set.delete(node.id);
      }
      const seen = (await list(modelId(model))).map(([id]) => id);
      assert.equal(seen.length, set.size);
      assert.deepEqual(new Set(seen), set);
    }
  });
});

test("storage is where the specification says", async () => {
  await publish(0);
  const { time } = await chain.block();
  const base = BigInt(keccak256(concat([modelId(0), numberToHex(0, { size: 32 })])));
  const words = await Promise.all([0n, 1n, 2n, 3n, 4n].map((i) => chain.storage(models.address, base + i)));
  const nameHash = keccak256(stringToHex("veracity/digits-cnn"));
  assert.equal(words[0], nameHash);
  assert.equal(words[1], root);
  assert.equal(BigInt(words[2]), (3n << 128n) | 7n);
  assert.equal(BigInt(words[3]), (BigInt(time) << 64n) | 123_456n);
  assert.equal(words[4], concat([stringToHex("1.0.0"), `0x${"00".repeat(26)}`, "0x0a"]));
  const name = BigInt(keccak256(concat([nameHash, numberToHex(1, { size: 32 })])));
  assert.equal(BigInt(await chain.storage(models.address, name)), BigInt(alice));
  assert.equal(BigInt(await chain.storage(models.address, name + 2n)), 1n);
});

test("every error of the contract was reached", () => {
  allErrorsSeen(models);
  printGas(chain);
});
