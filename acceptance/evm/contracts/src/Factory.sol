// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Sample} from "./Sample.sol";

/// A contract that creates contracts.
contract Factory {
    event Created(Sample indexed sample, bytes32 indexed salt);

    function create(uint256 value, string calldata label) external payable returns (Sample sample) {
        sample = new Sample{value: msg.value}(value, label);
        emit Created(sample, 0);
    }

    function create2(uint256 value, string calldata label, bytes32 salt) external payable returns (Sample sample) {
        sample = new Sample{value: msg.value, salt: salt}(value, label);
        emit Created(sample, salt);
    }
}
