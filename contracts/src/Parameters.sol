// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IParameters} from "./interfaces/IParameters.sol";
import "./System.sol" as System;
import {requireOperator, STAKE} from "./System.sol";

/// @title Chain parameters, and the only way to change them.
/// @notice A change is proposed by a validator, approved by validators that hold more than two thirds of the active
/// bond, waits for a delay, and is then carried out by anyone, if more than two thirds still approve at that moment.
/// @dev There is no other writer and no owner. Ranges are code: no vote can leave them. First values are genesis
/// storage. A parameter is one storage word at `keccak256(name, 0)`; `artifacts/genesis-storage.json` lists the slots.
contract Parameters is IParameters {
    /// @notice A proposed change.
    /// @param name Parameter to change.
    /// @param value Value it gets.
    /// @param expiresAt Last second in which it can be queued.
    /// @param readyAt First second in which it can be executed; zero until it is queued.
    /// @param executed Whether it was carried out.
    struct Proposal {
        bytes32 name;
        uint256 value;
        uint64 expiresAt;
        uint64 readyAt;
        bool executed;
    }

    /// @notice A queued change can be executed during this many seconds after its delay; then it is dead.
    /// @dev Without an end, a change that was approved under other circumstances could be carried out years later.
    uint256 public constant EXECUTION_WINDOW_S = 14 days;

    /// @notice Money stays bonded for at least this many idle epochs, so that it outlasts the epochs in which a
    /// validator that leaves is still in the committee.
    uint256 public constant UNBOND_DELAY_EPOCHS = 4;

    mapping(bytes32 name => uint256 value) private values; // slot 0
    mapping(uint256 id => Proposal) private proposals; // slot 1
    /// @notice Number of proposals so far; their ids are 1 to this number.
    uint256 public proposalCount; // slot 2
    mapping(uint256 id => mapping(bytes32 nodeId => bool)) private approvals; // slot 3
    /// @notice First value of `validators_max`, which no vote exceeds.
    /// @dev Nodes prepare for as many validators when they start a chain. Genesis writes it, and nothing else.
    uint256 public genesisValidatorsMax; // slot 4

    /// @notice A validator asks for a change.
    /// @param id Number of the proposal.
    /// @param name Parameter to change.
    /// @param nodeId Validator that asks.
    /// @param value Value that the parameter would get.
    /// @param expiresAt Last second in which the proposal can be queued.
    event Proposed(
        uint256 indexed id, bytes32 indexed name, bytes32 indexed nodeId, uint256 value, uint256 expiresAt
    );
    /// @notice A validator approves.
    /// @param id Number of the proposal.
    /// @param nodeId The validator.
    event Approved(uint256 indexed id, bytes32 indexed nodeId);
    /// @notice A validator takes its approval back.
    /// @param id Number of the proposal.
    /// @param nodeId The validator.
    event Revoked(uint256 indexed id, bytes32 indexed nodeId);
    /// @notice Enough validators approve; the delay begins.
    /// @param id Number of the proposal.
    /// @param readyAt First second in which it can be executed.
    event Queued(uint256 indexed id, uint256 readyAt);
    /// @notice The parameter has its new value.
    /// @param id Number of the proposal.
    /// @param name Parameter that changed.
    /// @param previous Value before.
    /// @param value Value now.
    event Executed(uint256 indexed id, bytes32 indexed name, uint256 previous, uint256 value);

    /// @notice There is no parameter of this name; `names()` lists them.
    /// @param name Name that was given.
    error UnknownParameter(bytes32 name);
    /// @notice The value is outside the range that is fixed for this parameter. Choose one within it.
    /// @param name The parameter.
    /// @param value Value that was given.
    /// @param min Smallest value allowed.
    /// @param max Largest value allowed.
    error OutOfRange(bytes32 name, uint256 value, uint256 min, uint256 max);
    /// @notice The parameter keeps its first value for as long as the chain lives: nodes count with it from genesis, so
    /// that a vote would have no effect. Choose another parameter.
    /// @param name The parameter.
    error FixedAtGenesis(bytes32 name);
    /// @notice The parameter can fall but never exceed its first value: nodes prepare for it at genesis, so that a vote
    /// for more would have no effect. Choose at most `max`.
    /// @param name The parameter.
    /// @param max Its value at genesis.
    error AboveGenesis(bytes32 name, uint256 max);
    /// @notice With this delay money could leave before its validator does. Choose at least `requiredS`.
    /// @param requiredS Shortest `unbond_delay_s` for the epochs of this chain, in seconds.
    /// @param givenS The `unbond_delay_s` that was given.
    error UnbondDelayTooShort(uint256 requiredS, uint256 givenS);
    /// @notice Only validators take part. Bond at least the minimum and stand as a candidate in Stake.
    /// @param nodeId Node that was given.
    error NotActiveValidator(bytes32 nodeId);
    /// @notice There is no proposal of this number; ids go from 1 to `proposalCount()`.
    /// @param id Number that was given.
    error UnknownProposal(uint256 id);
    /// @notice This validator approves already. Nothing needs to be done.
    /// @param id The proposal.
    /// @param nodeId The validator.
    error AlreadyApproved(uint256 id, bytes32 nodeId);
    /// @notice This validator has no approval to take back.
    /// @param id The proposal.
    /// @param nodeId The validator.
    error NotApproved(uint256 id, bytes32 nodeId);
    /// @notice The validators that approve hold too little: they need more than two thirds of the total. Ask more
    /// validators to approve.
    /// @param approvedWei Bond of the active validators that approve.
    /// @param totalWei Bond of all active validators.
    error NotEnoughApproval(uint256 approvedWei, uint256 totalWei);
    /// @notice The proposal waits for its delay already. Execute it when that is over.
    /// @param id The proposal.
    /// @param readyAt First second in which it can be executed.
    error AlreadyQueued(uint256 id, uint256 readyAt);
    /// @notice The proposal must be queued before it can be executed. Call `queue` when enough validators approve.
    /// @param id The proposal.
    error NotQueued(uint256 id);
    /// @notice The delay is not over. Execute at or after `readyAt`.
    /// @param id The proposal.
    /// @param readyAt First second in which it can be executed.
    error TooEarly(uint256 id, uint256 readyAt);
    /// @notice The proposal's time is over. Make a new one.
    /// @param id The proposal.
    /// @param endedAt Last second in which it was alive.
    error Expired(uint256 id, uint256 endedAt);
    /// @notice The change was carried out already. Nothing needs to be done.
    /// @param id The proposal.
    error AlreadyExecuted(uint256 id);

    /// @inheritdoc IParameters
    function get(bytes32 name) public view returns (uint256 value) {
        value = values[name];
        // No range contains zero, so a zero word means that the parameter does not exist.
        if (value == 0) revert UnknownParameter(name);
    }

    /// @notice Names of all parameters.
    /// @return list The names, ASCII, left-aligned.
    function names() public pure returns (bytes32[] memory list) {
        list = new bytes32[](13);
        list[0] = System.GAS_LIMIT_TARGET;
        list[1] = System.BASE_FEE_MIN_WEI;
        list[2] = System.BOND_MIN_VALIDATOR_WEI;
        list[3] = System.BOND_MIN_WORKER_WEI;
        list[4] = System.BOND_MIN_HOST_WEI;
        list[5] = System.BOND_MIN_GATEWAY_WEI;
        list[6] = System.UNBOND_DELAY_S;
        list[7] = System.EPOCH_BLOCKS;
        list[8] = System.VALIDATORS_MAX;
        list[9] = System.HOSTS_PER_MODEL;
        list[10] = System.HEARTBEAT_MS;
        list[11] = System.GOVERNANCE_DELAY_S;
        list[12] = System.PROPOSAL_PERIOD_S;
    }

    /// @notice Range of a parameter.
    /// @param name The parameter.
    /// @return min Smallest value allowed, never zero.
    /// @return max Largest value allowed.
    function range(bytes32 name) public pure returns (uint256 min, uint256 max) {
        // One transaction may use 2^24 gas (EIP-7825), so that a block must have room for it.
        if (name == System.GAS_LIMIT_TARGET) return (30_000_000, 1_000_000_000);
        // Below 8 wei a base fee could not rise by an eighth.
        if (name == System.BASE_FEE_MIN_WEI) return (8, 1e12);
        if (name == System.BOND_MIN_VALIDATOR_WEI) return (1e15, 1e27);
        if (name == System.BOND_MIN_WORKER_WEI) return (1e15, 1e27);
        if (name == System.BOND_MIN_HOST_WEI) return (1e15, 1e27);
        if (name == System.BOND_MIN_GATEWAY_WEI) return (1e15, 1e27);
        if (name == System.UNBOND_DELAY_S) return (60, 90 days);
        if (name == System.EPOCH_BLOCKS) return (8, 1_000_000);
        // The upper end bounds the cost of `validators` and of a tally.
        if (name == System.VALIDATORS_MAX) return (1, 128);
        if (name == System.HOSTS_PER_MODEL) return (1, 32);
        if (name == System.HEARTBEAT_MS) return (200, 60_000);
        // The lower end is what a user has, at least, to see a change coming and to leave.
        if (name == System.GOVERNANCE_DELAY_S) return (1 days, 30 days);
        if (name == System.PROPOSAL_PERIOD_S) return (1 days, 60 days);
        revert UnknownParameter(name);
    }

    /// @notice A proposal. Reverts when there is none of this number.
    /// @param id Its number.
    /// @return The proposal.
    function proposal(uint256 id) external view returns (Proposal memory) {
        return _proposal(id);
    }

    /// @notice Whether a validator approves a proposal.
    /// @param id The proposal.
    /// @param nodeId The validator.
    /// @return True when it does; what that weighs, the tally says.
    function approves(uint256 id, bytes32 nodeId) external view returns (bool) {
        return approvals[id][nodeId];
    }

    /// @notice How much bond stands behind a proposal now. It passes when `3 * approvedWei > 2 * totalWei`.
    /// @param id The proposal.
    /// @return approvedWei Bond of the active validators that approve.
    /// @return totalWei Bond of all active validators.
    function tally(uint256 id) public view returns (uint256 approvedWei, uint256 totalWei) {
        (bytes32[] memory nodeIds, uint256[] memory bonds) = STAKE.validators(get(System.VALIDATORS_MAX));
        mapping(bytes32 => bool) storage approving = approvals[id];
        for (uint256 i = 0; i < nodeIds.length; i++) {
            totalWei += bonds[i];
            if (approving[nodeIds[i]]) approvedWei += bonds[i];
        }
    }

    /// @notice Proposes a change, and approves it for the validator that proposes.
    /// @param nodeId Validator of the caller.
    /// @param name Parameter to change.
    /// @param value Value it should get.
    /// @return id Number of the proposal.
    function propose(bytes32 nodeId, bytes32 name, uint256 value) external returns (uint256 id) {
        _requireValidator(nodeId);
        _requireValid(name, value);
        uint256 expiresAt = block.timestamp + get(System.PROPOSAL_PERIOD_S);
        id = ++proposalCount;
        proposals[id] =
            Proposal({name: name, value: value, expiresAt: uint64(expiresAt), readyAt: 0, executed: false});
        approvals[id][nodeId] = true;
        emit Proposed(id, name, nodeId, value, expiresAt);
        emit Approved(id, nodeId);
    }

    /// @notice Approves a proposal, before it is queued or while it waits.
    /// @param id The proposal.
    /// @param nodeId Validator of the caller.
    function approve(uint256 id, bytes32 nodeId) external {
        _requireValidator(nodeId);
        _requireAlive(id, _proposal(id));
        if (approvals[id][nodeId]) revert AlreadyApproved(id, nodeId);
        approvals[id][nodeId] = true;
        emit Approved(id, nodeId);
    }

    /// @notice Takes an approval back, before the proposal is queued or while it waits. Not only a validator may do
    /// this, but also one that was a validator when it approved.
    /// @param id The proposal.
    /// @param nodeId Node of the caller.
    function revoke(uint256 id, bytes32 nodeId) external {
        requireOperator(nodeId);
        _requireAlive(id, _proposal(id));
        if (!approvals[id][nodeId]) revert NotApproved(id, nodeId);
        approvals[id][nodeId] = false;
        emit Revoked(id, nodeId);
    }

    /// @notice Starts the delay of a proposal that enough validators approve. Anyone may call it.
    /// @param id The proposal.
    function queue(uint256 id) external {
        Proposal storage p = _proposal(id);
        _requireAlive(id, p);
        if (p.readyAt != 0) revert AlreadyQueued(id, p.readyAt);
        _requirePassed(id);
        uint256 readyAt = block.timestamp + get(System.GOVERNANCE_DELAY_S);
        p.readyAt = uint64(readyAt);
        emit Queued(id, readyAt);
    }

    /// @notice Carries out a proposal after its delay, if more than two thirds approve now. Anyone may call it.
    /// @dev The second tally makes a takeover cost money for as long as the delay lasts: bond that appears for one
    /// block to approve and queue is not there, or does not count, when it matters.
    /// @param id The proposal.
    function execute(uint256 id) external {
        Proposal storage p = _proposal(id);
        _requireAlive(id, p);
        if (p.readyAt == 0) revert NotQueued(id);
        if (block.timestamp < p.readyAt) revert TooEarly(id, p.readyAt);
        _requirePassed(id);
        // Nothing becomes a value but through this check, whatever came before.
        _requireValid(p.name, p.value);
        p.executed = true;
        uint256 previous = values[p.name];
        values[p.name] = p.value;
        emit Executed(id, p.name, previous, p.value);
    }

    function _proposal(uint256 id) private view returns (Proposal storage p) {
        p = proposals[id];
        if (p.expiresAt == 0) revert UnknownProposal(id);
    }

    function _requireValidator(bytes32 nodeId) private view {
        requireOperator(nodeId);
        if (STAKE.weightOf(nodeId) == 0) revert NotActiveValidator(nodeId);
    }

    function _requireAlive(uint256 id, Proposal storage p) private view {
        if (p.executed) revert AlreadyExecuted(id);
        uint256 end = p.readyAt == 0 ? p.expiresAt : p.readyAt + EXECUTION_WINDOW_S;
        if (block.timestamp > end) revert Expired(id, end);
    }

    function _requirePassed(uint256 id) private view {
        (uint256 approvedWei, uint256 totalWei) = tally(id);
        if (3 * approvedWei <= 2 * totalWei) revert NotEnoughApproval(approvedWei, totalWei);
    }

    /// @dev Refuses what would have no effect, what is out of range, and a delay that is too short for the epochs.
    function _requireValid(bytes32 name, uint256 value) private view {
        if (name == System.EPOCH_BLOCKS || name == System.HEARTBEAT_MS) revert FixedAtGenesis(name);
        (uint256 min, uint256 max) = range(name);
        if (value < min || value > max) revert OutOfRange(name, value, min, max);
        if (name == System.VALIDATORS_MAX && value > genesisValidatorsMax) {
            revert AboveGenesis(name, genesisValidatorsMax);
        }
        if (name == System.UNBOND_DELAY_S) {
            uint256 epochsMs = UNBOND_DELAY_EPOCHS * get(System.EPOCH_BLOCKS) * get(System.HEARTBEAT_MS);
            uint256 requiredS = (epochsMs + 999) / 1000;
            if (value < requiredS) revert UnbondDelayTooShort(requiredS, value);
        }
    }
}
