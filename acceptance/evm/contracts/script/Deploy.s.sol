// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Factory} from "../src/Factory.sol";
import {Sample} from "../src/Sample.sol";

/// What the script needs of forge-std.
interface Vm {
    function startBroadcast() external;
    function stopBroadcast() external;
    function envBytes32(string calldata name) external view returns (bytes32);
}

/// Deploys through the CREATE2 deployer with the salt SALT, then through a factory, and sends transactions to both.
contract Deploy {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bool public constant IS_SCRIPT = true;

    function run() external returns (Sample direct, Factory factory, Sample made) {
        bytes32 salt = vm.envBytes32("SALT");
        vm.startBroadcast();
        direct = new Sample{salt: salt, value: 3}(7, "by script");
        factory = new Factory();
        made = factory.create{value: 5}(8, "by factory");
        direct.set(9, "from the script");
        (bool sent,) = address(made).call{value: 11}("");
        require(sent, "the transfer failed");
        vm.stopBroadcast();
        require(direct.value() == 9 && made.value() == 8, "the values are wrong");
    }

    /// Reads the state of the chain, and fails with an error of the contract's.
    function fail(Sample sample) external {
        require(bytes(sample.label()).length > 0, "no label");
        sample.set(sample.LIMIT() + sample.value(), "too large");
    }
}
