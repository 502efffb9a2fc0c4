// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Random values of past blocks.
/// @notice Each block is decided in a round of consensus that yields one random value, a threshold signature that no
/// minority can compute early and everybody can check. This contract keeps the values of the last 8192 blocks.
/// @dev How to use it safely. The value of a block is known to the proposer of that block before the block is decided:
/// whoever could still choose what the block says would choose with the value in hand. So: commit to everything that
/// the draw decides about in a block of height `h`, and draw with the value of a height of at least `h + 2`, fixed at
/// the time of the commitment. Then no part of what is decided was written by somebody who knew the value. Mix in what
/// the draw is for, as in `keccak256(abi.encode(randomness(h + 2), "audit", jobId))`, so that two draws differ.
/// A leader that works with `f` faulty validators can let its round fail after it has seen the value, and so choose
/// among at most `f + 2` values: a draw must be sound even then.
/// No function writes. The protocol writes two words before the first transaction of block `height + 1`: the value at
/// slot `height % 8192` and the height at slot `8192 + height % 8192`.
contract Randomness {
    /// @notice How many values are kept.
    uint256 public constant WINDOW = 8192;

    bytes32[8192] private values; // slots 0 to 8191
    uint256[8192] private heights; // slots 8192 to 16383

    /// @notice The value of a block is given only to later blocks. Ask again in a later block.
    /// @param height Height that was asked for.
    /// @param current Height of this block.
    error NotYet(uint256 height, uint256 current);
    /// @notice The value is no longer kept. Draw within 8192 blocks of the height.
    /// @param height Height that was asked for.
    /// @param oldest Smallest height whose value is kept.
    error TooOld(uint256 height, uint256 oldest);
    /// @notice There is no value for this height: the genesis block has none.
    /// @param height Height that was asked for.
    error NoValue(uint256 height);

    /// @notice Random value of the round that decided a past block. Commit at height `h`, then read `h + 2` or later.
    /// @param height Height of the block, below that of the current block and at most 8192 below it.
    /// @return The value.
    function randomness(uint256 height) external view returns (bytes32) {
        if (height >= block.number) revert NotYet(height, block.number);
        if (height + WINDOW < block.number) revert TooOld(height, block.number - WINDOW);
        uint256 place = height % WINDOW;
        // The second word tells a value of this height from one that is left of an earlier turn.
        if (height == 0 || heights[place] != height) revert NoValue(height);
        return values[place];
    }
}
