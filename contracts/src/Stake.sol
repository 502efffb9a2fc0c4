// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IStake} from "./interfaces/IStake.sol";
import "./System.sol" as System;
import {ALL_ROLES, ED25519, PARAMETERS, VALIDATOR, page, requireOperator} from "./System.sol";

/// @title Nodes, their bonds and their roles; the election of validators.
/// @notice A node is an Ed25519 public key. It bonds the native token, says what it does and where it is reached.
/// @dev Trust: the contract holds the money of all nodes and pays only the operator who bonded it. Conservation:
/// its balance is the sum of all bonds and all unbonding amounts (more only if somebody forces money in).
/// No function walks a list that others can grow without limit: candidates are at most `validators_max` (at most 128),
/// withdrawals under way at most 16 for each node.
contract Stake is IStake {
    /// @notice Money on its way out.
    /// @param amount Wei.
    /// @param readyAt First second in which it can be withdrawn.
    struct Unbonding {
        uint128 amount;
        uint64 readyAt;
    }

    /// @dev 20 words. Word 0 has all that elections and role checks read.
    struct Node {
        uint128 bond; // word 0, byte 0 (lowest)
        uint8 roles; // byte 16: offered now
        uint16 candidate; // byte 17: place in `candidates` plus one, zero when not there
        uint8 unbondingFirst; // byte 19: ring position of the oldest withdrawal
        uint8 unbondingCount; // byte 20
        address operator; // word 1, byte 0
        uint64 registeredAt; // word 1, byte 20
        uint64[4] leavesAt; // word 2: for role `1 << i`, end of the time in which it is answered for after leaving
        string endpoint; // word 3
        Unbonding[16] unbondings; // words 4 to 19; UNBONDINGS_MAX of them
    }

    /// @notice What is known about a node.
    /// @param operator Address that speaks for it and that is paid.
    /// @param roles Roles that it offers.
    /// @param leavingRoles Roles that it left but still answers for.
    /// @param leavesAt For role `1 << i`, first second in which it no longer does; zero unless it left.
    /// @param candidate Whether it stands for election.
    /// @param bond Bonded wei.
    /// @param required Wei that its roles need now.
    /// @param unbonding Wei on their way out.
    /// @param registeredAt Second of registration.
    /// @param endpoint Where it is reached.
    struct NodeInfo {
        address operator;
        uint8 roles;
        uint8 leavingRoles;
        uint64[4] leavesAt;
        bool candidate;
        uint256 bond;
        uint256 required;
        uint256 unbonding;
        uint64 registeredAt;
        string endpoint;
    }

    /// @notice Most withdrawals that a node can have under way.
    uint256 public constant UNBONDINGS_MAX = 16;
    /// @notice Longest endpoint, in bytes.
    uint256 public constant ENDPOINT_MAX = 256;
    /// @notice What the key of a node signs, besides chain id and operator; commonware calls it a namespace.
    string public constant BINDING_NAMESPACE = "veracity operator binding v1";

    mapping(bytes32 nodeId => Node) private nodes; // slot 0
    bytes32[] private candidates; // slot 1
    bytes32[] private nodeIds; // slot 2: append-only

    /// @notice A node exists.
    /// @param nodeId Its key.
    /// @param operator Who speaks for it, for ever.
    /// @param roles What it does.
    /// @param endpoint Where it is reached.
    event Registered(bytes32 indexed nodeId, address indexed operator, uint8 roles, string endpoint);
    /// @notice A bond grew.
    /// @param nodeId The node.
    /// @param amount Wei added.
    /// @param bond Wei bonded now.
    event Bonded(bytes32 indexed nodeId, uint256 amount, uint256 bond);
    /// @notice A bond shrank; the money waits.
    /// @param nodeId The node.
    /// @param amount Wei on their way out.
    /// @param bond Wei bonded now.
    /// @param readyAt First second in which they can be withdrawn.
    event Unbonded(bytes32 indexed nodeId, uint256 amount, uint256 bond, uint256 readyAt);
    /// @notice Money left.
    /// @param nodeId The node.
    /// @param to Who received it.
    /// @param amount Wei.
    event Withdrawn(bytes32 indexed nodeId, address indexed to, uint256 amount);
    /// @notice A node does something else now.
    /// @param nodeId The node.
    /// @param roles What it offers.
    /// @param left What it offered until now and answers for until `leavesAt`.
    /// @param leavesAt First second in which it no longer does, zero when it left nothing.
    event RolesChanged(bytes32 indexed nodeId, uint8 roles, uint8 left, uint256 leavesAt);
    /// @notice A node is reached elsewhere.
    /// @param nodeId The node.
    /// @param endpoint Where.
    event EndpointChanged(bytes32 indexed nodeId, string endpoint);
    /// @notice A node stands for election.
    /// @param nodeId The node.
    event CandidateJoined(bytes32 indexed nodeId);
    /// @notice A node no longer stands: it left, or one with more bond took its place.
    /// @param nodeId The node.
    event CandidateLeft(bytes32 indexed nodeId);

    /// @notice The key has been registered. If the key is yours and the operator is not, somebody has your key: make
    /// a new one.
    /// @param nodeId The key.
    /// @param operator Who speaks for it.
    error AlreadyRegistered(bytes32 nodeId, address operator);
    /// @notice A role mask is a sum of VALIDATOR 1, WORKER 2, HOST 4 and GATEWAY 8, and a new node has at least one.
    /// @param roles Mask that was given.
    error BadRoles(uint256 roles);
    /// @notice A proof is an Ed25519 signature, 64 bytes, over `bindingMessage(operator)`.
    /// @param length Bytes that were given.
    error BadProofLength(uint256 length);
    /// @notice The signature is not by this key over this operator and this chain. Let the key of the node sign
    /// `bindingMessage(operator)`, where the operator is the sender of the transaction.
    /// @param nodeId The key.
    /// @param operator Sender of the transaction.
    error BadProof(bytes32 nodeId, address operator);
    /// @notice The precompile that verifies Ed25519 gave no answer: the chain does not have it, or the call ran out
    /// of gas. Try with more gas.
    error Ed25519Unavailable();
    /// @notice An endpoint is at most 256 bytes.
    /// @param length Bytes that were given.
    error EndpointTooLong(uint256 length);
    /// @notice An endpoint is graphic ASCII without spaces, like `https://node.example:9000`.
    /// @param position Index of the first byte that is something else.
    error BadEndpoint(uint256 position);
    /// @notice The bond is too low for the roles. Bond more, or offer fewer roles.
    /// @param required Wei that the roles need together.
    /// @param bonded Wei that would be bonded.
    error BondTooLow(uint256 required, uint256 bonded);
    /// @notice A bond has at most 2^128 - 1 wei.
    /// @param bonded Wei that would be bonded.
    error BondTooHigh(uint256 bonded);
    /// @notice Give an amount above zero.
    error ZeroAmount();
    /// @notice Less is bonded than that.
    /// @param bonded Wei bonded.
    /// @param amount Wei asked for.
    error AmountAboveBond(uint256 bonded, uint256 amount);
    /// @notice Too many withdrawals are under way. Withdraw those that are ready, or wait, or unbond larger amounts.
    /// @param max Largest number allowed.
    error TooManyUnbondings(uint256 max);
    /// @notice No money is ready to be withdrawn.
    /// @param nextAt First second in which some will be, zero when none is under way.
    error NothingToWithdraw(uint256 nextAt);
    /// @notice Name an address that can receive money; this one is zero.
    error ZeroRecipient();
    /// @notice The recipient refused the money. Name another one.
    /// @param to Recipient that was given.
    error TransferFailed(address to);
    /// @notice The node has exactly these roles already. Nothing needs to be done.
    /// @param roles Mask that was given.
    error SameRoles(uint8 roles);
    /// @notice Only a node with the role VALIDATOR can stand. Take the role with `setRoles`.
    /// @param nodeId The node.
    error NotValidator(bytes32 nodeId);
    /// @notice The node stands already. Nothing needs to be done.
    /// @param nodeId The node.
    error AlreadyCandidate(bytes32 nodeId);
    /// @notice All places are taken by nodes with more bond. Bond more than the lowest of them.
    /// @param lowest Wei that the lowest candidate has bonded.
    /// @param bonded Wei that this node has bonded.
    error BondBelowCandidates(uint256 lowest, uint256 bonded);

    /// @notice Registers a node under its key, for the sender as operator, with the value sent as its bond.
    /// @dev The signature stops others from taking a key that they do not have: whoever copies it from a transaction
    /// under way is another sender, for whom it is not valid. The binding has no end and no transfer; an operator who
    /// wants another address registers another key.
    /// @param nodeId Ed25519 public key.
    /// @param roles Mask of roles, at least one.
    /// @param endpoint Where the node is reached, at most 256 bytes of graphic ASCII, may be empty.
    /// @param proof Ed25519 signature by the key over `bindingMessage(msg.sender)`.
    function register(bytes32 nodeId, uint8 roles, string calldata endpoint, bytes calldata proof) external payable {
        Node storage node_ = nodes[nodeId];
        if (node_.operator != address(0)) revert AlreadyRegistered(nodeId, node_.operator);
        if (roles == 0 || roles > ALL_ROLES) revert BadRoles(roles);
        _requireEndpoint(endpoint);
        _requireProof(nodeId, proof);
        _requireBond(_required(roles), msg.value);

        node_.operator = msg.sender;
        node_.registeredAt = uint64(block.timestamp);
        node_.bond = _bond(msg.value);
        node_.roles = roles;
        node_.endpoint = endpoint;
        nodeIds.push(nodeId);
        emit Registered(nodeId, msg.sender, roles, endpoint);
        emit Bonded(nodeId, msg.value, msg.value);
        if (roles & VALIDATOR != 0) _stand(nodeId, node_);
    }

    /// @notice Adds the value sent to the bond.
    /// @param nodeId Node of the caller.
    function bond(bytes32 nodeId) external payable {
        requireOperator(nodeId);
        if (msg.value == 0) revert ZeroAmount();
        Node storage node_ = nodes[nodeId];
        node_.bond = _bond(node_.bond + msg.value);
        emit Bonded(nodeId, msg.value, node_.bond);
    }

    /// @notice Takes money out of the bond. It can be withdrawn after `unbond_delay_s`, and answers for the node
    /// until then. What stays must be enough for the roles that the node offers.
    /// @param nodeId Node of the caller.
    /// @param amount Wei.
    function unbond(bytes32 nodeId, uint256 amount) external {
        requireOperator(nodeId);
        if (amount == 0) revert ZeroAmount();
        Node storage node_ = nodes[nodeId];
        uint256 bonded = node_.bond;
        if (amount > bonded) revert AmountAboveBond(bonded, amount);
        uint256 count = node_.unbondingCount;
        if (count == UNBONDINGS_MAX) revert TooManyUnbondings(UNBONDINGS_MAX);
        _requireBond(_required(node_.roles), bonded - amount);

        // Not before the roles that this money backed are over, even if the delay was shortened in between.
        uint256 readyAt = block.timestamp + PARAMETERS.get(System.UNBOND_DELAY_S);
        for (uint256 i = 0; i < 4; i++) {
            if (readyAt < node_.leavesAt[i]) readyAt = node_.leavesAt[i];
        }
        node_.bond = uint128(bonded - amount);
        node_.unbondings[(node_.unbondingFirst + count) % UNBONDINGS_MAX] =
            Unbonding({amount: uint128(amount), readyAt: uint64(readyAt)});
        node_.unbondingCount = uint8(count + 1);
        emit Unbonded(nodeId, amount, bonded - amount, readyAt);
    }

    /// @notice Pays out what is ready, oldest first. One that is not ready holds up those behind it.
    /// @param nodeId Node of the caller.
    /// @param to Who receives the money.
    /// @return amount Wei paid.
    function withdraw(bytes32 nodeId, address to) external returns (uint256 amount) {
        requireOperator(nodeId);
        if (to == address(0)) revert ZeroRecipient();
        Node storage node_ = nodes[nodeId];
        uint256 first = node_.unbondingFirst;
        uint256 count = node_.unbondingCount;
        while (count > 0 && node_.unbondings[first].readyAt <= block.timestamp) {
            amount += node_.unbondings[first].amount;
            delete node_.unbondings[first];
            first = (first + 1) % UNBONDINGS_MAX;
            count--;
        }
        if (amount == 0) revert NothingToWithdraw(count == 0 ? 0 : node_.unbondings[first].readyAt);
        node_.unbondingFirst = uint8(first);
        node_.unbondingCount = uint8(count);
        emit Withdrawn(nodeId, to, amount);

        // Last, so that a recipient that calls back finds the books closed.
        (bool sent,) = to.call{value: amount}("");
        if (!sent) revert TransferFailed(to);
    }

    /// @notice Says what the node does from now on. A role that is given up is no longer offered at once; the node
    /// answers for it during `unbond_delay_s`.
    /// @param nodeId Node of the caller.
    /// @param roles Mask of roles, zero to leave altogether.
    function setRoles(bytes32 nodeId, uint8 roles) external {
        requireOperator(nodeId);
        if (roles > ALL_ROLES) revert BadRoles(roles);
        Node storage node_ = nodes[nodeId];
        uint8 before = node_.roles;
        if (roles == before) revert SameRoles(roles);

        uint8 added = roles & ~before;
        uint8 removed = before & ~roles;
        // A role without enough bond is over at once: there is no money that would answer for it.
        if (node_.bond < _required(before)) removed = 0;
        // The same money must not back a role that is taken and one that is still answered for.
        if (added != 0) _requireBond(_required(roles | removed | _leaving(node_)), node_.bond);
        uint256 leavesAt = removed == 0 ? 0 : block.timestamp + PARAMETERS.get(System.UNBOND_DELAY_S);
        for (uint256 i = 0; i < 4; i++) {
            if (removed & (1 << i) != 0) node_.leavesAt[i] = uint64(leavesAt);
            if (added & (1 << i) != 0) node_.leavesAt[i] = 0;
        }
        node_.roles = roles;
        emit RolesChanged(nodeId, roles, removed, leavesAt);

        if (added & VALIDATOR != 0) _stand(nodeId, node_);
        else if (roles & VALIDATOR == 0 && node_.candidate != 0) _leave(nodeId, node_);
    }

    /// @notice Says where the node is reached from now on.
    /// @param nodeId Node of the caller.
    /// @param endpoint At most 256 bytes of graphic ASCII, may be empty.
    function setEndpoint(bytes32 nodeId, string calldata endpoint) external {
        requireOperator(nodeId);
        _requireEndpoint(endpoint);
        nodes[nodeId].endpoint = endpoint;
        emit EndpointChanged(nodeId, endpoint);
    }

    /// @notice Stands for election again, after a node with more bond took the place.
    /// @param nodeId Node of the caller.
    function stand(bytes32 nodeId) external {
        requireOperator(nodeId);
        Node storage node_ = nodes[nodeId];
        if (node_.roles & VALIDATOR == 0) revert NotValidator(nodeId);
        if (node_.candidate != 0) revert AlreadyCandidate(nodeId);
        _requireBond(_required(node_.roles), node_.bond);
        _stand(nodeId, node_);
    }

    /// @inheritdoc IStake
    function operatorOf(bytes32 nodeId) external view returns (address operator) {
        return nodes[nodeId].operator;
    }

    /// @inheritdoc IStake
    function hasRole(bytes32 nodeId, uint8 roles) public view returns (bool held) {
        Node storage node_ = nodes[nodeId];
        uint8 offered = node_.roles;
        return roles != 0 && offered & roles == roles && node_.bond >= _required(offered);
    }

    /// @inheritdoc IStake
    function isBonded(bytes32 nodeId, uint8 roles) external view returns (bool bonded) {
        Node storage node_ = nodes[nodeId];
        uint8 answered = _leaving(node_);
        if (node_.bond >= _required(node_.roles)) answered |= node_.roles;
        return roles != 0 && answered & roles == roles;
    }

    /// @inheritdoc IStake
    function weightOf(bytes32 nodeId) external view returns (uint256 weight) {
        return nodes[nodeId].candidate == 0 ? 0 : _weight(nodes[nodeId], _minimums());
    }

    /// @inheritdoc IStake
    /// @dev Consensus reads it off chain; on chain only a tally of votes calls it. `docs/spec/contracts.md` has the cost.
    function validators(uint256 max) external view returns (bytes32[] memory ids, uint256[] memory bonds) {
        bytes32[] memory all = candidates;
        uint256[4] memory minimums = _minimums();
        // Binary insertion sort of words that hold a weight (at most 128 bits) above a place in `all`.
        uint256[] memory order = new uint256[](all.length);
        uint256 count = 0;
        for (uint256 i = 0; i < all.length; i++) {
            uint256 weight = _weight(nodes[all[i]], minimums);
            if (weight == 0) continue;
            uint256 low = 0;
            uint256 high = count;
            while (low < high) {
                uint256 middle = (low + high) / 2;
                uint256 other = order[middle];
                if (_above(weight, all[i], other >> 16, all[other & 0xffff])) high = middle;
                else low = middle + 1;
            }
            // Moves the words `low .. count` up by one; there is room, since `count < all.length` here.
            assembly ("memory-safe") {
                let from := add(add(order, 32), shl(5, low))
                mcopy(add(from, 32), from, shl(5, sub(count, low)))
            }
            order[low] = weight << 16 | i;
            count++;
        }
        if (max > count) max = count;
        ids = new bytes32[](max);
        bonds = new uint256[](max);
        for (uint256 i = 0; i < max; i++) {
            ids[i] = all[order[i] & 0xffff];
            bonds[i] = order[i] >> 16;
        }
    }

    /// @notice All nodes that stand for election, in no order. At most 128.
    /// @return Their ids.
    function candidateList() external view returns (bytes32[] memory) {
        return candidates;
    }

    /// @notice What is known about a node. Reverts when there is none of this key.
    /// @param nodeId The key.
    /// @return info All of it.
    function node(bytes32 nodeId) external view returns (NodeInfo memory info) {
        Node storage node_ = nodes[nodeId];
        if (node_.operator == address(0)) revert System.UnknownNode(nodeId);
        info.operator = node_.operator;
        info.roles = node_.roles;
        info.leavingRoles = _leaving(node_);
        info.leavesAt = node_.leavesAt;
        info.candidate = node_.candidate != 0;
        info.bond = node_.bond;
        info.required = _required(node_.roles);
        info.registeredAt = node_.registeredAt;
        info.endpoint = node_.endpoint;
        for (uint256 i = 0; i < node_.unbondingCount; i++) {
            info.unbonding += node_.unbondings[(node_.unbondingFirst + i) % UNBONDINGS_MAX].amount;
        }
    }

    /// @notice Where a node is reached.
    /// @param nodeId The node.
    /// @return The endpoint, empty when it gave none or does not exist.
    function endpointOf(bytes32 nodeId) external view returns (string memory) {
        return nodes[nodeId].endpoint;
    }

    /// @notice Withdrawals of a node that are under way, oldest first.
    /// @param nodeId The node.
    /// @return list At most 16.
    function unbondingsOf(bytes32 nodeId) external view returns (Unbonding[] memory list) {
        Node storage node_ = nodes[nodeId];
        list = new Unbonding[](node_.unbondingCount);
        for (uint256 i = 0; i < list.length; i++) {
            list[i] = node_.unbondings[(node_.unbondingFirst + i) % UNBONDINGS_MAX];
        }
    }

    /// @notice Number of nodes ever registered.
    /// @return The number.
    function nodeCount() external view returns (uint256) {
        return nodeIds.length;
    }

    /// @notice Nodes in the order of registration.
    /// @param offset How many to skip.
    /// @param count How many to return at most, up to 256.
    /// @return Their ids.
    function nodePage(uint256 offset, uint256 count) external view returns (bytes32[] memory) {
        return page(nodeIds, offset, count);
    }

    /// @notice Wei that a node needs to offer these roles together.
    /// @param roles Mask of roles.
    /// @return The sum of their minimum bonds.
    function requiredBond(uint8 roles) external view returns (uint256) {
        if (roles > ALL_ROLES) revert BadRoles(roles);
        return _required(roles);
    }

    /// @notice What the key of a node signs so that an operator can register it: the byte 28, the namespace, the
    /// chain id as 32 bytes big-endian, the 20 bytes of the operator; 81 bytes together.
    /// @dev The leading byte is the length of the namespace, as commonware signs it, so that keys that sign only in
    /// that manner can sign this, and nothing else that such a key signs can be taken for it.
    /// @param operator Who will register.
    /// @return The message.
    function bindingMessage(address operator) public view returns (bytes memory) {
        return abi.encodePacked(uint8(28), BINDING_NAMESPACE, block.chainid, operator);
    }

    function _requireProof(bytes32 nodeId, bytes calldata proof) private view {
        if (proof.length != 64) revert BadProofLength(proof.length);
        (bool done, bytes memory answer) =
            ED25519.staticcall(abi.encodePacked(nodeId, proof, bindingMessage(msg.sender)));
        // A call to an address without code succeeds with an empty answer, which must never count as "valid".
        if (!done || answer.length != 32) revert Ed25519Unavailable();
        if (uint256(bytes32(answer)) != 1) revert BadProof(nodeId, msg.sender);
    }

    /// @dev Graphic ASCII only, so that an endpoint that is printed cannot imitate other lines.
    function _requireEndpoint(string calldata endpoint) private pure {
        bytes calldata text = bytes(endpoint);
        if (text.length > ENDPOINT_MAX) revert EndpointTooLong(text.length);
        for (uint256 i = 0; i < text.length; i++) {
            if (text[i] < 0x21 || text[i] > 0x7e) revert BadEndpoint(i);
        }
    }

    function _requireBond(uint256 required, uint256 bonded) private pure {
        if (bonded < required) revert BondTooLow(required, bonded);
    }

    function _bond(uint256 amount) private pure returns (uint128) {
        if (amount > type(uint128).max) revert BondTooHigh(amount);
        return uint128(amount);
    }

    /// @dev Roles that the node left and still answers for.
    function _leaving(Node storage node_) private view returns (uint8 mask) {
        uint64[4] memory leavesAt = node_.leavesAt;
        for (uint256 i = 0; i < 4; i++) {
            if (block.timestamp < leavesAt[i]) mask |= uint8(1 << i);
        }
    }

    /// @dev Name of the parameter with the minimum bond of the role `1 << i`.
    function _minimumName(uint256 i) private pure returns (bytes32) {
        if (i == 0) return System.BOND_MIN_VALIDATOR_WEI;
        if (i == 1) return System.BOND_MIN_WORKER_WEI;
        if (i == 2) return System.BOND_MIN_HOST_WEI;
        return System.BOND_MIN_GATEWAY_WEI;
    }

    /// @dev Each role needs its own minimum: the same money must not answer twice.
    function _required(uint8 roles) private view returns (uint256 sum) {
        for (uint256 i = 0; i < 4; i++) {
            if (roles & (1 << i) != 0) sum += PARAMETERS.get(_minimumName(i));
        }
    }

    function _minimums() private view returns (uint256[4] memory minimums) {
        for (uint256 i = 0; i < 4; i++) {
            minimums[i] = PARAMETERS.get(_minimumName(i));
        }
    }

    /// @dev The bond, or zero when it is not enough for all that the node offers.
    function _weight(Node storage node_, uint256[4] memory minimums) private view returns (uint256) {
        uint256 bonded = node_.bond;
        uint256 roles = node_.roles;
        uint256 required = 0;
        for (uint256 i = 0; i < 4; i++) {
            if (roles & (1 << i) != 0) required += minimums[i];
        }
        return bonded >= required ? bonded : 0;
    }

    /// @dev Whether (weight, id) ranks above (otherWeight, otherId): more bond, then the smaller id.
    function _above(uint256 weight, bytes32 id, uint256 otherWeight, bytes32 otherId) private pure returns (bool) {
        return weight > otherWeight || (weight == otherWeight && id < otherId);
    }

    /// @dev Makes the node a candidate. When all places are taken it takes that of the lowest, if it ranks above it.
    function _stand(bytes32 nodeId, Node storage node_) private {
        if (candidates.length < PARAMETERS.get(System.VALIDATORS_MAX)) {
            candidates.push(nodeId);
            node_.candidate = uint16(candidates.length);
        } else {
            (uint256 place, uint256 lowest) = _lowest();
            bytes32 loser = candidates[place];
            if (!_above(node_.bond, nodeId, lowest, loser)) revert BondBelowCandidates(lowest, node_.bond);
            nodes[loser].candidate = 0;
            candidates[place] = nodeId;
            node_.candidate = uint16(place + 1);
            emit CandidateLeft(loser);
        }
        emit CandidateJoined(nodeId);
    }

    /// @dev Place and weight of the candidate that ranks below all others.
    function _lowest() private view returns (uint256 place, uint256 lowest) {
        uint256[4] memory minimums = _minimums();
        uint256 length = candidates.length;
        lowest = type(uint256).max;
        bytes32 loser;
        for (uint256 i = 0; i < length; i++) {
            bytes32 id = candidates[i];
            uint256 weight = _weight(nodes[id], minimums);
            if (_above(lowest, loser, weight, id)) {
                (place, lowest, loser) = (i, weight, id);
            }
        }
    }

    /// @dev Takes a candidate from the list; the last one moves to its place.
    function _leave(bytes32 nodeId, Node storage node_) private {
        uint256 place = node_.candidate - 1;
        bytes32 last = candidates[candidates.length - 1];
        candidates[place] = last;
        nodes[last].candidate = uint16(place + 1);
        candidates.pop();
        node_.candidate = 0;
        emit CandidateLeft(nodeId);
    }
}
