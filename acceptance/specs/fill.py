"""Makes state tests for the rules that the chain has, judged by Ethereum's executable specification.

    python fill.py [--each N] OUT FOLDER...

reads tests in any of the formats that Ethereum's tests had: state tests of one transaction with its result (2015), VM
tests of one call (2015), and state tests of signed transactions by fork (since). It keeps what they put in (accounts,
block, transaction), lets the specification (the package `ethereum-execution`, nobody's client) execute it at Osaka, and
writes state tests that say what came out: state root, hash of the logs, receipts root, or that the transaction is
refused. `cargo run -p veracity-chain --example state_tests` runs them. With `--each N` it takes N tests of each file,
evenly spread: the specification needs about 10 ms for each.
"""

import argparse
import json
import multiprocessing
import signal
import sys
from collections import Counter
from pathlib import Path

import coincurve
from ethereum.crypto.hash import Hash32, keccak256
from ethereum.exceptions import EthereumException
from ethereum.forks.osaka import fork, state, trie, vm
from ethereum.forks.osaka.fork_types import Account, Address
from ethereum.forks.osaka.transactions import (
    TX_MAX_GAS_LIMIT,
    BlobTransaction,
    LegacyTransaction,
    decode_transaction,
    signing_hash_pre155,
)
from ethereum_rlp import rlp
from ethereum_rlp.exceptions import RLPException
from ethereum_types.bytes import Bytes, Bytes0, Bytes32
from ethereum_types.numeric import U64, U256, Uint

FORK = "Osaka"
CHAIN_ID = 1
#: Tests from before EIP-1559 have a price and no base fee.
BASE_FEE = 7
#: The specification is not made to be fast: old tests get no more gas than this, of which many use up all, and what
#: takes longer than this, in seconds of a processor, is left out and counted.
GAS_MAX = 300_000
TIME_MAX = 10
#: Who calls in VM tests, which have no transaction.
CALLER_KEY = "45a915e4d060149eb4365960e6a7a45f334393093061116b197e3240065ff2d8"


class Skip(Exception):
    """Why a test is left out."""


def number(value):
    """Numbers are written as decimal or hexadecimal strings, or as numbers."""
    if isinstance(value, int):
        return value
    if value in ("", "0x"):
        return 0
    return int(value, 16) if value.startswith("0x") else int(value)


def octets(value):
    text = value.removeprefix("0x")
    return bytes.fromhex(text if len(text) % 2 == 0 else "0" + text)


def padded(value, size):
    return octets(value).rjust(size, b"\0")


def word(value):
    return Bytes32(number(value if value == "" or value.startswith("0x") else int(value)).to_bytes(32, "big"))


def environment(env):
    """The block, in the form of today's tests."""
    difficulty = number(env.get("currentDifficulty", "0x0")) % 2**256
    return {
        "currentBaseFee": hex(number(env.get("currentBaseFee", BASE_FEE))),
        "currentCoinbase": "0x" + padded(env["currentCoinbase"], 20).hex(),
        "currentGasLimit": hex(min(number(env["currentGasLimit"]), 2**63 - 1)),
        "currentNumber": hex(number(env["currentNumber"])),
        "currentRandom": "0x" + padded(env.get("currentRandom", hex(difficulty)), 32).hex(),
        "currentTimestamp": hex(number(env["currentTimestamp"])),
    }


def accounts(pre):
    filled = {}
    for address, fields in pre.items():
        slots = {key: value for key, value in fields["storage"].items() if number(value)}
        filled["0x" + padded(address, 20).hex()] = {
            "balance": hex(number(fields["balance"])),
            "nonce": hex(number(fields["nonce"])),
            "code": "0x" + octets(fields["code"]).hex(),
            "storage": {"0x" + word(key).hex(): "0x" + word(value).hex() for key, value in slots.items()},
        }
    return filled


def signed(key, nonce, price, gas, to, value, data):
    fields = [U256(nonce), Uint(price), Uint(min(gas, GAS_MAX)), to, U256(value), Bytes(data)]
    unsigned = LegacyTransaction(*fields, v=U256(0), r=U256(0), s=U256(0))
    secret = coincurve.PrivateKey(padded(key, 32))
    signature = secret.sign_recoverable(signing_hash_pre155(unsigned), hasher=None)
    r, s = (U256(int.from_bytes(signature[i : i + 32], "big")) for i in (0, 32))
    return rlp.encode(LegacyTransaction(*fields, v=U256(27 + signature[64]), r=r, s=s))


def recipient(text):
    return Address(padded(text, 20)) if text not in ("", "0x") else Bytes0()


def old_transaction(tx):
    """The transaction of a test of 2015, at a price that covers the base fee."""
    price = max(number(tx["gasPrice"]), BASE_FEE + 3)
    try:
        return signed(tx["secretKey"], number(tx["nonce"]), price, number(tx["gasLimit"]), recipient(tx["to"]),
                      number(tx["value"]), octets(tx["data"]))
    except (OverflowError, ValueError):
        raise Skip("numbers that no transaction can have") from None


def call(test):
    """A VM test as a transaction from an account with enough money to the account that executes."""
    run, pre = test["exec"], dict(test["pre"])
    address = padded(run["address"], 20)
    key = coincurve.PrivateKey(padded(CALLER_KEY, 32)).public_key.format(compressed=False)[1:]
    caller = keccak256(key)[12:].hex()
    pre.setdefault(address.hex(), {"balance": "0", "nonce": "0", "code": run["code"], "storage": {}})
    pre[caller] = {"balance": str(10**30), "nonce": "0", "code": "0x", "storage": {}}
    bytes_ = signed(CALLER_KEY, 0, BASE_FEE + 3, GAS_MAX, Address(address), number(run["value"]) % 10**20, octets(run["data"]))
    return {**test, "env": {**test["env"], "currentGasLimit": str(2**30)}, "pre": pre}, [bytes_]


def inputs(test):
    """The test with its transactions, as bytes."""
    if "exec" in test:
        return call(test)
    if "post" in test and "pre" in test and "secretKey" in test["transaction"] and "txbytes" not in json.dumps(test["post"]):
        return test, [old_transaction(test["transaction"])]
    found = {case["txbytes"] for name, cases in test["post"].items() if name in ("Cancun", "Prague") for case in cases}
    return test, [octets(text) for text in sorted(found)]


def world(pre):
    made = state.State()
    for address, fields in pre.items():
        at = Address(octets(address))
        account = Account(nonce=Uint(number(fields["nonce"])), balance=U256(number(fields["balance"])),
                          code=Bytes(octets(fields["code"])))
        state.set_account(made, at, account)
        for key, value in fields["storage"].items():
            state.set_storage(made, at, word(key), U256(number(value)))
    return made


def decoded(bytes_):
    if bytes_ and bytes_[0] < 0xC0:
        return decode_transaction(Bytes(bytes_))
    return rlp.decode_to(LegacyTransaction, bytes_)


def judge(env, pre, bytes_):
    """What the specification makes of a transaction."""
    made = world(pre)
    before = state.state_root(made)
    height = number(env["currentNumber"])
    output = vm.BlockOutput()
    block = vm.BlockEnvironment(
        chain_id=U64(CHAIN_ID), state=made, block_gas_limit=Uint(number(env["currentGasLimit"])),
        # Blocks before have no hash here: the history contract is not among the accounts.
        block_hashes=[Hash32(bytes(32))] * min(height, 256), coinbase=Address(octets(env["currentCoinbase"])),
        number=Uint(height), base_fee_per_gas=Uint(number(env["currentBaseFee"])),
        time=U256(number(env["currentTimestamp"])), prev_randao=Bytes32(octets(env["currentRandom"])),
        excess_blob_gas=U64(0), parent_beacon_block_root=Hash32(bytes(32)),
    )
    case = {"txbytes": "0x" + bytes_.hex()}
    try:
        transaction = decoded(bytes_)
        if isinstance(transaction, BlobTransaction):
            raise Skip("transactions with blobs, which this chain refuses")
        if transaction.gas > TX_MAX_GAS_LIMIT:
            raise Skip("more gas than EIP-7825 allows, which this chain allows up to the block's")
        fork.process_transaction(block, output, transaction, Uint(0))
    except OverflowError:
        raise Skip("an account would have 2^256 wei or more") from None
    except (EthereumException, RLPException) as error:
        nothing = "0x" + keccak256(rlp.encode(())).hex()
        return {**case, "hash": "0x" + before.hex(), "logs": nothing, "expectException": type(error).__name__}
    logs = "0x" + keccak256(rlp.encode(output.block_logs)).hex()
    receipts = "0x" + trie.root(output.receipts_trie).hex()
    return {**case, "hash": "0x" + state.state_root(made).hex(), "logs": logs, "receiptsRoot": receipts}


def timed(*args):
    def late(*_):
        raise Skip(f"the specification takes over {TIME_MAX} s")
    # Processor time, so that a busy machine leaves nothing else out.
    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, TIME_MAX)
    try:
        return judge(*args)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def fill(name, test):
    """A test for the runner, and why transactions of it are left out."""
    cases, skipped = [], Counter()
    try:
        test, transactions = inputs(test)
        env, pre = environment(test["env"]), accounts(test["pre"])
    except Skip as reason:
        return None, Counter([str(reason)])
    for bytes_ in transactions:
        try:
            cases.append(timed(env, pre, bytes_))
        except Skip as reason:
            skipped[str(reason)] += 1
    return {"env": env, "pre": pre, "post": {FORK: cases}}, skipped


def fill_file(job):
    source, target, each = job
    filled, skipped = {}, Counter()
    tests = json.loads(source.read_text())
    tests = [(name, test) for name, test in tests.items() if "transaction" in test or "exec" in test]
    for name, test in tests[:: max(1, -(-len(tests) // each))]:
        made, why = fill(name, test)
        skipped += why
        if made:
            filled[name] = made
    if filled:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(filled))
    return sum(len(test["post"][FORK]) for test in filled.values()), skipped


def main():
    sys.setrecursionlimit(100_000)
    parser = argparse.ArgumentParser()
    parser.add_argument("--each", type=int, default=sys.maxsize)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    args = parser.parse_args()
    jobs = []
    for folder in args.folders:
        target = args.out / folder.name
        jobs += [(path, target / path.relative_to(folder), args.each) for path in sorted(folder.rglob("*.json"))]
    filled, skipped = 0, Counter()
    with multiprocessing.Pool() as pool:
        for count, why in pool.imap_unordered(fill_file, jobs, chunksize=1):
            filled += count
            skipped += why
    print(f"{filled} transactions judged by ethereum-execution at {FORK}, {sum(skipped.values())} left out")
    for reason, count in skipped.most_common():
        print(f"  {count} left out: {reason}")


if __name__ == "__main__":
    main()
