// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {STAKE, WORKER, requireOperator} from "./System.sol";

/// @title Anchors batches of receipts, each receipt in one place only.
/// @notice An executor numbers its receipts 0, 1, 2, ... (the number is part of what it signs) and anchors them in
/// that order, batch by batch, as the root of a Merkle tree after RFC 9162. Leaf `i` of a batch is the receipt with
/// sequence `first + i`.
/// @dev Batches of a node are consecutive, so a sequence has exactly one leaf. A receipt counts as anchored at a leaf
/// only if the sequence that it states is that of the leaf; whoever verifies a receipt checks that, since the
/// contract sees ids only.
contract Receipts {
    /// @notice One batch.
    /// @param root Merkle tree hash (RFC 9162 section 2.1.1) over the receipt ids.
    /// @param first Sequence of its first receipt.
    /// @param count Number of its receipts.
    /// @param height Block that anchored it.
    /// @param anchoredAt Time of that block, in seconds.
    struct Batch {
        bytes32 root; // word 0
        uint64 first; // word 1, byte 0 (lowest)
        uint32 count; // byte 8
        uint64 height; // byte 12
        uint64 anchoredAt; // byte 20
    }

    /// @notice Most receipts in one batch.
    uint256 public constant COUNT_MAX = 65_536;

    mapping(bytes32 nodeId => Batch[]) private batches; // slot 0

    /// @notice A batch is anchored.
    /// @param nodeId Executor.
    /// @param batch Number of the batch, from zero, for each executor.
    /// @param first Sequence of its first receipt.
    /// @param count Number of its receipts.
    /// @param root Merkle tree hash over their ids.
    event Anchored(bytes32 indexed nodeId, uint256 indexed batch, uint64 first, uint32 count, bytes32 root);

    /// @notice Only a worker with enough bond anchors, or one that has left for less than the unbonding delay. Bond
    /// more, or take the role WORKER in Stake.
    /// @param nodeId Node that was given.
    error NotBondedWorker(bytes32 nodeId);
    /// @notice Batches follow each other without a gap. Begin at the next sequence.
    /// @param next Sequence that the batch must begin with.
    /// @param given Sequence that was given.
    error WrongSequence(uint64 next, uint64 given);
    /// @notice A batch has 1 to 65536 receipts. Anchor fewer at once.
    /// @param count Number that was given.
    error BadCount(uint256 count);
    /// @notice The root is missing: it is never zero.
    error EmptyRoot();
    /// @notice The executor has not anchored this. Wait for its next batch.
    /// @param nodeId Executor.
    /// @param next Sequence of the next receipt that it will anchor.
    error NotAnchored(bytes32 nodeId, uint64 next);
    /// @notice The executor has no batch of this number.
    /// @param nodeId Executor.
    /// @param count Number of batches that it has.
    error UnknownBatch(bytes32 nodeId, uint256 count);

    /// @notice Anchors the next batch of an executor.
    /// @param nodeId Executor, a worker of the caller.
    /// @param first Sequence of the first receipt; must be `nextSequence(nodeId)`.
    /// @param count Number of receipts, 1 to 65536.
    /// @param root Merkle tree hash over their ids, in the order of their sequences.
    /// @return batch Number of the batch.
    function anchor(bytes32 nodeId, uint64 first, uint32 count, bytes32 root) external returns (uint256 batch) {
        requireOperator(nodeId);
        if (!STAKE.isBonded(nodeId, WORKER)) revert NotBondedWorker(nodeId);
        if (count == 0 || count > COUNT_MAX) revert BadCount(count);
        if (root == 0) revert EmptyRoot();
        uint64 next = nextSequence(nodeId);
        if (first != next) revert WrongSequence(next, first);
        batch = batches[nodeId].length;
        batches[nodeId].push(
            Batch({
                root: root,
                first: first,
                count: count,
                height: uint64(block.number),
                anchoredAt: uint64(block.timestamp)
            })
        );
        emit Anchored(nodeId, batch, first, count, root);
    }

    /// @notice Sequence of the next receipt that an executor will anchor; all below are anchored.
    /// @param nodeId Executor.
    /// @return The sequence.
    function nextSequence(bytes32 nodeId) public view returns (uint64) {
        Batch[] storage list = batches[nodeId];
        uint256 length = list.length;
        if (length == 0) return 0;
        Batch storage last = list[length - 1];
        return last.first + last.count;
    }

    /// @notice Number of batches of an executor.
    /// @param nodeId Executor.
    /// @return The number.
    function batchCount(bytes32 nodeId) external view returns (uint256) {
        return batches[nodeId].length;
    }

    /// @notice A batch by its number. Reverts when there is none.
    /// @param nodeId Executor.
    /// @param batch Number of the batch.
    /// @return The batch.
    function batchAt(bytes32 nodeId, uint256 batch) public view returns (Batch memory) {
        if (batch >= batches[nodeId].length) revert UnknownBatch(nodeId, batches[nodeId].length);
        return batches[nodeId][batch];
    }

    /// @notice Where a receipt is anchored, by binary search. Reverts when it is not yet.
    /// @param nodeId Executor.
    /// @param sequence Sequence of the receipt.
    /// @return batch Number of the batch.
    /// @return index Place of the receipt in it.
    function locate(bytes32 nodeId, uint64 sequence) external view returns (uint256 batch, uint256 index) {
        uint64 next = nextSequence(nodeId);
        if (sequence >= next) revert NotAnchored(nodeId, next);
        Batch[] storage list = batches[nodeId];
        uint256 high = list.length; // its first sequence is above, those below `batch` are not
        while (high - batch > 1) {
            uint256 middle = (batch + high) / 2;
            if (list[middle].first <= sequence) batch = middle;
            else high = middle;
        }
        index = sequence - list[batch].first;
    }

    /// @notice Whether a receipt id is leaf `index` of a batch. Whoever calls checks that the receipt states the
    /// sequence `first + index`.
    /// @param nodeId Executor.
    /// @param batch Number of the batch.
    /// @param index Place in it.
    /// @param receiptId Id of the receipt.
    /// @param path Inclusion proof, leaf to root.
    /// @return True when it is.
    function verify(bytes32 nodeId, uint256 batch, uint256 index, bytes32 receiptId, bytes32[] calldata path)
        external
        view
        returns (bool)
    {
        Batch memory b = batchAt(nodeId, batch);
        return _included(b.root, index, b.count, sha256(abi.encodePacked(uint8(0), receiptId)), path);
    }

    /// @dev RFC 9162 section 2.1.3.2, step by step; `fn`, `sn` and `r` are its names. Ends after at most 17 rounds,
    /// since `sn` loses a bit in each.
    function _included(bytes32 root, uint256 index, uint256 size, bytes32 r, bytes32[] calldata path)
        private
        pure
        returns (bool)
    {
        if (index >= size) return false;
        uint256 fn = index;
        uint256 sn = size - 1;
        for (uint256 i = 0; i < path.length; i++) {
            if (sn == 0) return false;
            if (fn & 1 == 1 || fn == sn) {
                r = sha256(abi.encodePacked(uint8(1), path[i], r));
                while (fn & 1 == 0 && fn != 0) {
                    fn >>= 1;
                    sn >>= 1;
                }
            } else {
                r = sha256(abi.encodePacked(uint8(1), r, path[i]));
            }
            fn >>= 1;
            sn >>= 1;
        }
        return sn == 0 && r == root;
    }
}
