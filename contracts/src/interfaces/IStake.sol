// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title What other contracts read from Stake.
interface IStake {
    /// @notice Address that speaks for a node, zero when there is no such node.
    /// @param nodeId Ed25519 public key of the node.
    /// @return operator The address.
    function operatorOf(bytes32 nodeId) external view returns (address operator);

    /// @notice Whether a node offers all of these roles with enough bond for everything it offers.
    /// @param nodeId Ed25519 public key of the node.
    /// @param roles Bitmask of roles.
    /// @return held True when it does.
    function hasRole(bytes32 nodeId, uint8 roles) external view returns (bool held);

    /// @notice Whether a node offers all of these roles, or left them so recently that its money still answers for them.
    /// @param nodeId Ed25519 public key of the node.
    /// @param roles Bitmask of roles.
    /// @return bonded True when it does.
    function isBonded(bytes32 nodeId, uint8 roles) external view returns (bool bonded);

    /// @notice Bond that counts in elections: zero unless the node is a candidate with enough bond.
    /// @param nodeId Ed25519 public key of the node.
    /// @return weight The bond in wei.
    function weightOf(bytes32 nodeId) external view returns (uint256 weight);

    /// @notice The candidates with the highest bonds, highest first, equal bonds by ascending node id.
    /// @param max Longest list wanted.
    /// @return nodeIds Their ids.
    /// @return bonds Their bonds in wei.
    function validators(uint256 max) external view returns (bytes32[] memory nodeIds, uint256[] memory bonds);
}
