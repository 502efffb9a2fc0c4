"""web3.py against the node: RPC_URL and WS_URL, with funds of PRIVATE_KEY. Each check prints a line."""

import asyncio
import json
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rlp
from ens.exceptions import ENSException
from eth_account import Account
from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from trie import HexaryTrie
from trie.constants import BLANK_NODE_HASH
from web3 import AsyncWeb3, HTTPProvider, Web3
from web3.contract import Contract
from web3.exceptions import (
    BlockNotFound,
    ContractCustomError,
    ContractLogicError,
    ContractPanicError,
    TransactionNotFound,
    Web3Exception,
    Web3RPCError,
)
from web3.providers.persistent import WebSocketProvider

HERE = Path(__file__).parent
WAIT_S = 15
GWEI = 10**9
ETHER = 10**18
PREDEPLOYS = json.loads((HERE / "../../../contracts/artifacts/predeploys.json").read_text())
MULTICALL3_ABI = [
    {
        "type": "function",
        "name": "aggregate3",
        "stateMutability": "payable",
        "inputs": [
            {
                "name": "calls",
                "type": "tuple[]",
                "components": [
                    {"name": "target", "type": "address"},
                    {"name": "allowFailure", "type": "bool"},
                    {"name": "callData", "type": "bytes"},
                ],
            }
        ],
        "outputs": [
            {
                "name": "",
                "type": "tuple[]",
                "components": [{"name": "success", "type": "bool"}, {"name": "returnData", "type": "bytes"}],
            }
        ],
    }
]
PERMIT = [
    {
        "name": "permitted",
        "type": "tuple",
        "components": [{"name": "token", "type": "address"}, {"name": "amount", "type": "uint256"}],
    },
    {"name": "nonce", "type": "uint256"},
    {"name": "deadline", "type": "uint256"},
]
PERMIT2_ABI = [
    {
        "type": "function",
        "name": "permitTransferFrom",
        "stateMutability": "nonpayable",
        "inputs": [
            {"name": "permit", "type": "tuple", "components": PERMIT},
            {
                "name": "transferDetails",
                "type": "tuple",
                "components": [{"name": "to", "type": "address"}, {"name": "requestedAmount", "type": "uint256"}],
            },
            {"name": "owner", "type": "address"},
            {"name": "signature", "type": "bytes"},
        ],
        "outputs": [],
    }
]
PERMIT_TYPES = {
    "PermitTransferFrom": [
        {"name": "permitted", "type": "TokenPermissions"},
        {"name": "spender", "type": "address"},
        {"name": "nonce", "type": "uint256"},
        {"name": "deadline", "type": "uint256"},
    ],
    "TokenPermissions": [{"name": "token", "type": "address"}, {"name": "amount", "type": "uint256"}],
}

w3 = Web3(HTTPProvider(os.environ["RPC_URL"]))
account: LocalAccount = Account.from_key(os.environ["PRIVATE_KEY"])
chain_id = w3.eth.chain_id
is_anvil = "anvil" in w3.client_version.lower()
deployed: dict[str, Contract] = {}
"""The contract of most checks, after the one that deploys it."""


def artifact(name: str) -> dict[str, Any]:
    return json.loads((HERE / f"../contracts/out/{name}.sol/{name}.json").read_text())


def factory(name: str) -> type[Contract]:
    compiled = artifact(name)
    return w3.eth.contract(abi=compiled["abi"], bytecode=compiled["bytecode"]["object"])


def other(n: int) -> LocalAccount:
    """Another account of this run."""
    return Account.from_key(Web3.keccak(account.key + bytes([n])))


stranger = other(99).address


def fill(request: dict[str, Any], sender: LocalAccount = account) -> dict[str, Any]:
    """The request with all that a transaction needs."""
    filled = {
        "from": sender.address,
        "chainId": chain_id,
        "nonce": w3.eth.get_transaction_count(sender.address, "pending"),
        **request,
    }
    if "gasPrice" not in filled and "maxFeePerGas" not in filled:
        filled |= {"maxFeePerGas": 50 * GWEI, "maxPriorityFeePerGas": GWEI}
    if "gas" not in filled:
        filled["gas"] = w3.eth.estimate_gas(filled)
    return filled


def submit(request: dict[str, Any], sender: LocalAccount = account) -> HexBytes:
    return w3.eth.send_raw_transaction(sender.sign_transaction(fill(request, sender)).raw_transaction)


def receipt_of(hash: HexBytes) -> dict[str, Any]:
    return w3.eth.wait_for_transaction_receipt(hash, timeout=WAIT_S, poll_latency=0.025)


def send(request: dict[str, Any], sender: LocalAccount = account) -> dict[str, Any]:
    return receipt_of(submit(request, sender))


def write(function: Any, fields: dict[str, Any] | None = None, sender: LocalAccount = account) -> dict[str, Any]:
    """Sends a transaction that calls a function of a contract."""
    base = {
        "from": sender.address,
        "gas": 0,
        "maxFeePerGas": 0,
        "maxPriorityFeePerGas": 0,
        "chainId": chain_id,
        "nonce": 0,
        "value": 0,
    }
    built = function.build_transaction(base | {"value": (fields or {}).get("value", 0)})
    call = {key: built[key] for key in ("to", "data", "value") if key in built}
    return send(call | (fields or {}), sender)


def deploy(name: str, *arguments: Any, **fields: Any) -> Contract:
    receipt = write(factory(name).constructor(*arguments), fields)
    assert receipt["status"] == 1, receipt
    return w3.eth.contract(address=receipt["contractAddress"], abi=artifact(name)["abi"])


def refusal(act: Callable[[], Any], kind: type[Exception], pattern: str = "") -> Any:
    """The error of this kind that `act` fails with."""
    try:
        result = act()
    except kind as error:
        assert re.search(pattern, str(error), re.IGNORECASE), error
        return error
    raise AssertionError(f"it was accepted: {result!r}")


def sample() -> Contract:
    return deployed["sample"]


def changed(receipt: dict[str, Any]) -> list[int]:
    """The values of the events `Changed` of a transaction."""
    return [event["args"]["value"] for event in sample().events.Changed().process_receipt(receipt)]


def connects() -> None:
    """connects over HTTP"""
    assert w3.is_connected()
    assert w3.eth.block_number > 0
    assert int(w3.net.version) == chain_id
    assert w3.eth.syncing is False


def connects_by_websocket() -> None:
    """connects over WebSocket"""

    async def act() -> None:
        async with AsyncWeb3(WebSocketProvider(os.environ["WS_URL"])) as socket:
            assert await socket.eth.chain_id == chain_id
            assert await socket.eth.get_balance(account.address) > 0

    asyncio.run(act())


def reads_balances() -> None:
    """reads balances and nonces"""
    assert w3.eth.get_balance(account.address) > 50 * ETHER
    assert w3.eth.get_balance(stranger) == 0
    assert w3.eth.get_transaction_count(account.address) == 0
    assert w3.eth.get_code(stranger) == b""


def deploys() -> None:
    """deploys a contract with constructor arguments and value"""
    deployed["sample"] = deploy("Sample", 5, "five", value=9)
    calls = sample().functions
    assert [calls.value().call(), calls.label().call(), calls.owner().call()] == [5, "five", account.address]
    assert w3.eth.get_balance(sample().address) == 9


def calls_with_structs() -> None:
    """calls with structs, bytes and text"""
    points = [(-(2**127), 2**64 - 1, "ünï☃"), (0, 0, "")]
    back, data, flag = sample().functions.echo(points, b"\x00\xff", True).call()
    assert [tuple(point.values() if isinstance(point, dict) else point) for point in back] == points, back
    assert (data, flag) == (b"\x00\xff", True)


def sends_eip1559() -> None:
    """sends an EIP-1559 transaction"""
    receipt = write(sample().functions.set(7, "seven"), {"maxFeePerGas": 50 * GWEI, "maxPriorityFeePerGas": 2 * GWEI})
    transaction = w3.eth.get_transaction(receipt["transactionHash"])
    block = w3.eth.get_block(receipt["blockHash"])
    assert (receipt["status"], receipt["type"], transaction["type"]) == (1, 2, 2)
    assert receipt["effectiveGasPrice"] == block["baseFeePerGas"] + 2 * GWEI
    (event,) = sample().events.Changed().process_receipt(receipt)
    assert dict(event["args"]) == {"by": account.address, "previous": 5, "value": 7, "note": "seven"}


def sends_eip2930() -> None:
    """sends an EIP-2930 transaction"""
    access_list = [{"address": sample().address, "storageKeys": ["0x" + "00" * 32, "0x" + "00" * 31 + "01"]}]
    receipt = write(sample().functions.set(8, "eight"), {"gasPrice": 20 * GWEI, "accessList": access_list, "type": 1})
    transaction = w3.eth.get_transaction(receipt["transactionHash"])
    assert (receipt["status"], receipt["type"]) == (1, 1)
    assert [HexBytes(key).hex() for key in transaction["accessList"][0]["storageKeys"]] == [
        key[2:] for key in access_list[0]["storageKeys"]
    ]


def sends_legacy() -> None:
    """sends a legacy transaction"""
    receipt = write(sample().functions.set(9, "nine"), {"gasPrice": 20 * GWEI})
    assert (receipt["status"], receipt["type"], receipt["effectiveGasPrice"]) == (1, 0, 20 * GWEI)


def delegates() -> None:
    """delegates an account to code and back (EIP-7702)"""
    code = deploy("Batch").address
    authority = other(1)
    send({"to": authority.address, "value": ETHER})

    def delegate(to: str) -> dict[str, Any]:
        nonce = w3.eth.get_transaction_count(authority.address)
        signed = authority.sign_authorization({"chainId": chain_id, "address": to, "nonce": nonce})
        return send({"to": authority.address, "gas": 200_000, "authorizationList": [signed], "value": 0, "data": "0x"})

    receipt = delegate(code)
    assert (receipt["status"], receipt["type"]) == (1, 4)
    assert w3.eth.get_code(authority.address) == bytes.fromhex("ef0100" + code[2:])
    batch = w3.eth.contract(address=authority.address, abi=artifact("Batch")["abi"])
    calls = [(sample().address, 3, b""), (sample().address, 0, sample().encode_abi("set", [10, "batch"]))]
    receipt = write(batch.functions.execute(calls), {"gas": 300_000}, sender=authority)
    assert receipt["status"] == 1 and len(receipt["logs"]) == 3, receipt
    delegate("0x" + "00" * 20)
    assert w3.eth.get_code(authority.address) == b""


def gets_logs() -> None:
    """gets logs by event, indexed argument, range and block"""
    first = write(sample().functions.setMany(100, 5))
    second = write(sample().functions.setMany(200, 2))
    event = sample().events.Changed()
    blocks = {"from_block": first["blockNumber"], "to_block": second["blockNumber"]}

    def values(**query: Any) -> list[int]:
        return [log["args"]["value"] for log in event.get_logs(**query)]

    assert values(**blocks) == [100, 101, 102, 103, 104, 200, 201]
    assert values(**blocks, argument_filters={"previous": [101, 103]}) == [102, 104]
    assert values(**blocks, argument_filters={"by": stranger}) == []
    assert values(block_hash=second["blockHash"]) == [200, 201]
    logs = w3.eth.get_logs({"address": [sample().address, stranger], "fromBlock": first["blockNumber"]})
    assert [log["logIndex"] for log in logs] == [0, 1, 2, 3, 4, 0, 1]


def uses_filters() -> None:
    """uses filters of events, blocks and pending transactions"""
    # The filter begins with the latest block, so that one has no events.
    send({"to": stranger, "value": 1})
    events = sample().events.Changed().create_filter(from_block="latest")
    blocks, pending = w3.eth.filter("latest"), w3.eth.filter("pending")
    receipt = write(sample().functions.setMany(300, 3))
    assert [event["args"]["value"] for event in events.get_new_entries()] == [300, 301, 302]
    assert events.get_new_entries() == []
    assert len(events.get_all_entries()) >= 3
    assert receipt["blockHash"] in blocks.get_new_entries()
    assert receipt["transactionHash"] in pending.get_new_entries()
    assert w3.eth.uninstall_filter(events.filter_id) is True
    refusal(lambda: w3.eth.get_filter_changes(events.filter_id), Web3Exception, "filter not found")


def subscription(act: Callable[[], Any], has: Callable[[list[Any], Any], bool], *arguments: Any) -> list[Any]:
    """What a subscription delivers until `has` is satisfied with it and with what `act` gave."""

    async def listen() -> list[Any]:
        async with AsyncWeb3(WebSocketProvider(os.environ["WS_URL"])) as socket:
            subscribed = await socket.eth.subscribe(*arguments)
            result = await asyncio.to_thread(act)
            seen: list[Any] = []
            async for message in socket.socket.process_subscriptions():
                assert message["subscription"] == subscribed
                seen.append(message["result"])
                if has(seen, result):
                    assert await socket.eth.unsubscribe(subscribed) is True
                    return seen
        raise AssertionError("the subscription ended")

    return asyncio.run(asyncio.wait_for(listen(), WAIT_S))


def subscribes_to_heads() -> None:
    """subscribes to new heads"""
    transfer = {"to": stranger, "value": 1}
    heads = subscription(
        lambda: send(transfer), lambda seen, receipt: seen[-1]["number"] >= receipt["blockNumber"], "newHeads"
    )
    assert heads[-1]["hash"] == w3.eth.get_block(heads[-1]["number"])["hash"]


def subscribes_to_logs() -> None:
    """subscribes to logs"""
    query = {"address": sample().address, "topics": [Web3.keccak(text="Changed(address,uint256,uint256,string)")]}
    set_many = sample().functions.setMany(400, 3)
    logs = subscription(lambda: write(set_many), lambda seen, _: len(seen) >= 3, "logs", query)
    assert [sample().events.Changed().process_log(log)["args"]["value"] for log in logs] == [400, 401, 402]


def subscribes_to_pending() -> None:
    """subscribes to pending transactions"""
    transfer = {"to": stranger, "value": 1}
    subscription(
        lambda: send(transfer), lambda seen, receipt: receipt["transactionHash"] in seen, "newPendingTransactions"
    )


def decodes_reasons() -> None:
    """decodes reverts with a reason"""
    error = refusal(sample().functions.failReason("because: ☃").call, ContractLogicError, "because: ☃")
    assert error.data.startswith("0x08c379a0"), error.data


def decodes_custom_errors() -> None:
    """decodes custom errors"""
    error = refusal(lambda: sample().functions.set(10**7, "").call(), ContractCustomError)
    selector, arguments = error.data[:10], bytes.fromhex(error.data[10:])
    assert selector == Web3.to_hex(Web3.keccak(text="TooLarge(uint256,uint256)")[:4]), error.data
    assert w3.codec.decode(["uint256", "uint256"], arguments) == (10**7, 10**6)


def decodes_panics() -> None:
    """decodes panics"""
    calls = sample().functions
    cases = [
        (calls.failAssert(), "0x01"),
        (calls.add(2**256 - 1, 1), "0x11"),
        (calls.divide(1, 0), "0x12"),
        (calls.numberAt(7), "0x32"),
    ]
    for call, code in cases:
        refusal(call.call, ContractPanicError, f"Panic error {code}")


def sees_empty_revert() -> None:
    """sees a revert without data"""
    error = refusal(sample().functions.failEmpty().call, ContractLogicError, "execution reverted")
    assert error.data in (None, "0x", "no data"), error.data


def gets_failed_receipt() -> None:
    """gets the receipt of a transaction that reverts"""
    receipt = write(sample().functions.set(10**7, ""), {"gas": 100_000})
    assert (receipt["status"], receipt["logs"]) == (0, [])


def estimates_gas() -> None:
    """estimates gas, and tells why it cannot"""
    assert w3.eth.estimate_gas({"from": account.address, "to": stranger, "value": 1}) == 21_000
    gas = sample().functions.setMany(1, 20).estimate_gas({"from": account.address})
    assert write(sample().functions.setMany(1, 20), {"gas": gas})["status"] == 1
    refusal(lambda: sample().functions.failReason("no estimate").estimate_gas(), ContractLogicError, "no estimate")
    refusal(lambda: sample().functions.set(10**7, "").estimate_gas(), ContractCustomError)


def refuses_low_nonce() -> None:
    """refuses a nonce that is too low"""
    refusal(lambda: submit({"to": stranger, "nonce": 0, "gas": 21_000}), Web3RPCError, "nonce too low")


def refuses_underpriced_replacement() -> None:
    """refuses an underpriced replacement and takes a better one"""
    nonce = w3.eth.get_transaction_count(account.address)

    def following(value: int, percent: int) -> HexBytes:
        fees = {"maxFeePerGas": percent * GWEI, "maxPriorityFeePerGas": percent * GWEI // 50}
        return submit({"to": stranger, "value": value, "gas": 21_000, "nonce": nonce + 1, **fees})

    following(1, 100)
    # geth asks for a tenth more, anvil for no less.
    refusal(lambda: following(2, 99 if is_anvil else 109), Web3RPCError, "replacement transaction underpriced")
    better = following(3, 125)
    send({"to": stranger, "value": 4, "nonce": nonce})
    assert receipt_of(better)["status"] == 1


def refuses_poor() -> None:
    """refuses what the account cannot pay"""
    # What is taken although it should be refused is in the way of what its sender sends next.
    sender = other(51)
    send({"to": sender.address, "value": ETHER})
    refusal(
        lambda: submit({"to": stranger, "value": 10**30, "gas": 21_000}, sender), Web3RPCError, "insufficient funds"
    )
    refusal(lambda: submit({"to": stranger, "gas": 21_000}, other(50)), Web3RPCError, "insufficient funds")


def reads_fees() -> None:
    """reads fee history and suggests fees"""
    history = w3.eth.fee_history(3, "latest", [10, 90])
    assert [len(history[key]) for key in ("baseFeePerGas", "gasUsedRatio", "reward")] == [4, 3, 3]
    assert w3.eth.gas_price > 0 and w3.eth.max_priority_fee >= 0


def prove(root: bytes, key: bytes, nodes: list[bytes]) -> bytes:
    """The value under a key of a trie, as the nodes prove it; empty if they prove that there is none."""
    if root == BLANK_NODE_HASH:
        return b""
    return HexaryTrie.get_from_proof(root, Web3.keccak(key), [rlp.decode(bytes(node)) for node in nodes])


def gets_proofs() -> None:
    """gets proofs that py-trie verifies"""
    block = w3.eth.get_block("latest")
    # Numbers go out as 0x0 and 0x77; anvil takes only whole words.
    slots = ["0x" + number.to_bytes(32).hex() for number in (0, 0x77)] if is_anvil else [0, 0x77]
    proof = w3.eth.get_proof(sample().address, slots, block["number"])
    leaf = prove(block["stateRoot"], bytes.fromhex(sample().address[2:]), proof["accountProof"])
    nonce, balance, storage_hash, code_hash = rlp.decode(leaf)
    assert int.from_bytes(nonce) == proof["nonce"] and int.from_bytes(balance) == proof["balance"]
    assert (storage_hash, code_hash) == (proof["storageHash"], proof["codeHash"])
    for slot, expected in zip(proof["storageProof"], (sample().functions.value().call(), 0), strict=True):
        key = int.from_bytes(slot["key"]).to_bytes(32)
        value = prove(storage_hash, key, slot["proof"])
        assert int.from_bytes(rlp.decode(value) if value else b"") == expected, slot
    absent = w3.eth.get_proof(other(60).address, [], block["number"])
    assert prove(block["stateRoot"], bytes.fromhex(other(60).address[2:]), absent["accountProof"]) == b""


def reads_earlier_state() -> None:
    """reads storage, and state of earlier blocks"""
    then = write(sample().functions.set(78, "then"))["blockNumber"]
    write(sample().functions.set(79, "now"))
    assert sample().functions.value().call(block_identifier=then) == 78
    assert int.from_bytes(w3.eth.get_storage_at(sample().address, 0, then)) == 78
    assert int.from_bytes(w3.eth.get_storage_at(sample().address, 0)) == 79


def creates_access_lists() -> None:
    """creates access lists"""
    second = deploy("Sample", 1, "second").address
    call = {"from": account.address, "to": sample().address, "data": sample().encode_abi("readOther", [second])}
    made = w3.eth.create_access_list(call)
    listed = {entry["address"]: [HexBytes(key) for key in entry["storageKeys"]] for entry in made["accessList"]}
    assert listed[second] == [HexBytes(bytes(32))], made
    entries = [
        {"address": address, "storageKeys": [key.to_0x_hex() for key in keys]} for address, keys in listed.items()
    ]
    assert send({"to": call["to"], "data": call["data"], "accessList": entries, "value": 0})["status"] == 1


def traces() -> None:
    """traces a transaction with the call tracer"""
    maker = deploy("Factory")
    receipt = write(maker.functions.create(1, "one"), {"value": 5})
    traced = w3.geth.debug.trace_transaction(receipt["transactionHash"].to_0x_hex(), {"tracer": "callTracer"})
    assert (traced["type"], [call["type"] for call in traced["calls"]]) == ("CALL", ["CREATE"]), traced
    assert receipt["gasUsed"] in (traced["gasUsed"], int(str(traced["gasUsed"]), 0))


def reads_through_multicall3() -> None:
    """reads many values in one call through Multicall3"""
    multicall = w3.eth.contract(address=PREDEPLOYS["multicall3"]["address"], abi=MULTICALL3_ABI)
    calls = [
        (sample().address, True, sample().encode_abi(*call)) for call in (("value", []), ("failReason", ["inside"]))
    ]
    answers = [
        tuple(answer.values() if isinstance(answer, dict) else answer)
        for answer in multicall.functions.aggregate3(calls).call()
    ]
    assert [success for success, _ in answers] == [True, False]
    assert int.from_bytes(answers[0][1]) == 79


def deploys_by_create2() -> None:
    """creates contracts through the CREATE2 deployer"""
    salt = Web3.keccak(account.key)
    deployer = PREDEPLOYS["create2Deployer"]["address"]
    code = HexBytes(factory("Sample").constructor(3, "salted").data_in_transaction)
    assert send({"to": deployer, "data": salt + code, "value": 0})["status"] == 1
    digest = Web3.keccak(b"\xff" + HexBytes(deployer) + salt + Web3.keccak(code))
    made = w3.eth.contract(address=Web3.to_checksum_address(digest[12:]), abi=artifact("Sample")["abi"])
    assert made.functions.label().call() == "salted"


def pays_by_permit2() -> None:
    """pays with a signature through Permit2"""
    token, spender = deploy("Token", 10**12), other(2)
    address = PREDEPLOYS["permit2"]["address"]
    send({"to": spender.address, "value": ETHER})
    write(token.functions.approve(address, 2**256 - 1))
    permitted = {"token": token.address, "amount": 500}
    domain = {"name": "Permit2", "chainId": chain_id, "verifyingContract": address}
    message = {"permitted": permitted, "spender": spender.address, "nonce": 7, "deadline": 2**256 - 1}
    signature = account.sign_typed_data(domain, PERMIT_TYPES, message).signature
    permit2 = w3.eth.contract(address=address, abi=PERMIT2_ABI)
    permit = ((token.address, 500), 7, 2**256 - 1)
    spend = permit2.functions.permitTransferFrom(permit, (stranger, 400), account.address, signature)
    assert write(spend, sender=spender)["status"] == 1
    assert token.functions.balanceOf(stranger).call() == 400
    error = refusal(lambda: spend.call({"from": spender.address}), ContractCustomError)
    assert error.data == Web3.to_hex(Web3.keccak(text="InvalidNonce()")[:4])


def sends_batches() -> None:
    """sends batches of requests"""
    with w3.batch_requests() as batch:
        for number in range(40):
            batch.add(w3.eth.get_block(number % 3))
        batch.add(sample().functions.add(1, 2))
        answers = batch.execute()
    assert [answer["number"] for answer in answers[:40]] == [number % 3 for number in range(40)]
    assert answers[40] == 3


def understands_tags() -> None:
    """understands block tags"""
    tags = ["earliest", "finalized", "safe", "latest", "pending"]
    numbers = [w3.eth.get_block(tag)["number"] for tag in tags]
    assert numbers[0] == 0 and numbers[1] <= numbers[2] <= numbers[3], numbers
    for tag in tags:
        assert w3.eth.get_balance(account.address, tag) >= 0
        assert w3.eth.get_transaction_count(account.address, tag) >= 0


def reads_blocks() -> None:
    """reads blocks in every way, and what is not there"""
    receipt = send({"to": stranger, "value": 1})
    at, hash = receipt["transactionIndex"], receipt["transactionHash"]
    assert w3.eth.get_block(receipt["blockNumber"], True)["transactions"][at]["hash"] == hash
    assert w3.eth.get_transaction_by_block(receipt["blockHash"], at)["hash"] == hash
    assert w3.eth.get_block_receipts(receipt["blockNumber"])[at]["transactionHash"] == hash
    assert w3.eth.get_block_transaction_count(receipt["blockHash"]) >= 1
    assert w3.eth.get_raw_transaction(hash).startswith(b"\x02")
    refusal(lambda: w3.eth.get_block(10**9), BlockNotFound)
    refusal(lambda: w3.eth.get_transaction(Web3.keccak(text="no")), TransactionNotFound)


def goes_on_without_ens() -> None:
    """goes on without ENS"""
    try:
        assert w3.ens.address("nobody.eth") is None
    except (ENSException, Web3Exception):
        pass
    assert w3.eth.chain_id == chain_id


def sends_large_calldata() -> None:
    """sends 100 kB of calldata"""
    data = sample().encode_abi("sum", [bytes([0, 0, 0, 1]) * 25_000])
    receipt = send({"to": sample().address, "data": data, "value": 0})
    assert receipt["status"] == 1
    assert w3.eth.get_transaction(receipt["transactionHash"])["input"] == HexBytes(data)


def transfers_to_itself() -> None:
    """transfers to itself"""
    before = w3.eth.get_balance(account.address)
    receipt = send({"to": account.address, "value": ETHER})
    assert w3.eth.get_balance(account.address) == before - receipt["gasUsed"] * receipt["effectiveGasPrice"]


def has_many_in_flight() -> None:
    """has many transactions of one sender in flight"""
    nonce = w3.eth.get_transaction_count(account.address)
    hashes = [submit({"to": stranger, "value": i, "gas": 21_000, "nonce": nonce + i}) for i in range(20)]
    assert all(receipt_of(hash)["status"] == 1 for hash in hashes)
    assert w3.eth.get_transaction_count(account.address) == nonce + 20


CHECKS = [
    connects,
    connects_by_websocket,
    reads_balances,
    deploys,
    calls_with_structs,
    sends_eip1559,
    sends_eip2930,
    sends_legacy,
    delegates,
    gets_logs,
    uses_filters,
    subscribes_to_heads,
    subscribes_to_logs,
    subscribes_to_pending,
    decodes_reasons,
    decodes_custom_errors,
    decodes_panics,
    sees_empty_revert,
    gets_failed_receipt,
    estimates_gas,
    refuses_low_nonce,
    refuses_underpriced_replacement,
    refuses_poor,
    reads_fees,
    gets_proofs,
    reads_earlier_state,
    creates_access_lists,
    traces,
    reads_through_multicall3,
    deploys_by_create2,
    pays_by_permit2,
    sends_batches,
    understands_tags,
    reads_blocks,
    goes_on_without_ens,
    sends_large_calldata,
    transfers_to_itself,
    has_many_in_flight,
]


def passes(check: Callable[[], None]) -> bool:
    """Runs one check and prints how it went."""
    try:
        check()
    except Exception:
        shown = re.sub(r"([0-9a-f]{200})[0-9a-f]{200,}", r"\1...", traceback.format_exc())
        print(f"FAIL web3.py: {check.__doc__}\n     " + shown.rstrip().replace("\n", "\n     "))
        return False
    print(f"ok   web3.py: {check.__doc__}")
    return True


if __name__ == "__main__":
    failed = [check for check in CHECKS if not passes(check)]
    sys.exit(1 if failed else 0)
