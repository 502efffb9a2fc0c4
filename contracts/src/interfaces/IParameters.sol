// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title What other contracts read from Parameters.
interface IParameters {
    /// @notice Value of a parameter.
    /// @param name Name, ASCII, left-aligned.
    /// @return value Current value, never zero.
    function get(bytes32 name) external view returns (uint256 value);
}
