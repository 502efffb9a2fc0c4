// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IParameters} from "./interfaces/IParameters.sol";
import {IStake} from "./interfaces/IStake.sol";

// What the system contracts share: where they live, the roles of a node, the names of the parameters.

/// @dev Bonds and nodes.
IStake constant STAKE = IStake(address(0x5e01));
/// @dev Chain parameters.
IParameters constant PARAMETERS = IParameters(address(0x5e02));
/// @dev Precompile that verifies Ed25519 signatures, `docs/spec/contracts.md` section 2.
address constant ED25519 = address(0x0e25);

/// @dev Takes part in consensus.
uint8 constant VALIDATOR = 1;
/// @dev Runs models and signs receipts.
uint8 constant WORKER = 2;
/// @dev Keeps and serves models.
uint8 constant HOST = 4;
/// @dev Serves clients over HTTP.
uint8 constant GATEWAY = 8;
/// @dev Every role.
uint8 constant ALL_ROLES = 15;

// Names of parameters. A name is the ASCII text, left-aligned in 32 bytes. Units are in the name, except for counts.
bytes32 constant GAS_LIMIT_TARGET = "gas_limit_target";
bytes32 constant BASE_FEE_MIN_WEI = "base_fee_min_wei";
bytes32 constant BOND_MIN_VALIDATOR_WEI = "bond_min_validator_wei";
bytes32 constant BOND_MIN_WORKER_WEI = "bond_min_worker_wei";
bytes32 constant BOND_MIN_HOST_WEI = "bond_min_host_wei";
bytes32 constant BOND_MIN_GATEWAY_WEI = "bond_min_gateway_wei";
bytes32 constant UNBOND_DELAY_S = "unbond_delay_s";
bytes32 constant EPOCH_BLOCKS = "epoch_blocks";
bytes32 constant VALIDATORS_MAX = "validators_max";
bytes32 constant HOSTS_PER_MODEL = "hosts_per_model";
bytes32 constant HEARTBEAT_MS = "heartbeat_ms";
bytes32 constant GOVERNANCE_DELAY_S = "governance_delay_s";
bytes32 constant PROPOSAL_PERIOD_S = "proposal_period_s";

/// @notice No node has this id. Register it in Stake first.
/// @param nodeId Id that was given.
error UnknownNode(bytes32 nodeId);

/// @notice Only the operator may do this. Send the transaction from the operator's address.
/// @param nodeId Node that the call is about.
/// @param operator Address that may make the call.
/// @param caller Address that made it.
error NotOperator(bytes32 nodeId, address operator, address caller);

/// @notice One answer holds at most `max` entries. Ask for less, and go on with a larger offset.
/// @param count Number of entries asked for.
/// @param max Largest number allowed.
error PageTooLarge(uint256 count, uint256 max);

/// @dev Longest page that a view returns, so that one call never costs more than a node is willing to compute.
uint256 constant PAGE_MAX = 256;

/// @dev Reverts unless the caller is the operator of the node.
function requireOperator(bytes32 nodeId) view {
    address operator = STAKE.operatorOf(nodeId);
    if (operator == address(0)) revert UnknownNode(nodeId);
    if (operator != msg.sender) revert NotOperator(nodeId, operator, msg.sender);
}

/// @dev Reads the entries `offset .. offset + count` of a list, fewer at its end.
function page(bytes32[] storage list, uint256 offset, uint256 count) view returns (bytes32[] memory entries) {
    if (count > PAGE_MAX) revert PageTooLarge(count, PAGE_MAX);
    uint256 length = list.length;
    uint256 start = offset < length ? offset : length;
    if (count > length - start) count = length - start;
    entries = new bytes32[](count);
    for (uint256 i = 0; i < count; i++) {
        entries[i] = list[start + i];
    }
}
