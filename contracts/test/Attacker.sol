// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

interface IStakeCalls {
    function bond(bytes32 nodeId) external payable;
    function unbond(bytes32 nodeId, uint256 amount) external;
    function withdraw(bytes32 nodeId, address to) external returns (uint256);
}

/// An operator that is a contract, and that calls back when it receives money.
contract Attacker {
    IStakeCalls private constant STAKE = IStakeCalls(address(0x5e01));

    bytes32 public nodeId;
    uint256 public mode;
    uint256 public attempts;
    uint256 public successes;

    /// Calls any contract as the operator.
    function run(address to, uint256 value, bytes calldata data) external returns (bytes memory) {
        (bool done, bytes memory answer) = to.call{value: value}(data);
        if (!done) {
            assembly {
                revert(add(answer, 32), mload(answer))
            }
        }
        return answer;
    }

    function arm(bytes32 nodeId_, uint256 mode_) external {
        (nodeId, mode) = (nodeId_, mode_);
    }

    receive() external payable {
        if (mode == 0) return;
        if (mode == 1) revert();
        attempts++;
        if (mode == 2) {
            try STAKE.withdraw(nodeId, address(this)) {
                successes++;
            } catch {}
        } else if (mode == 3) {
            mode = 0;
            STAKE.bond{value: msg.value}(nodeId);
            STAKE.unbond(nodeId, msg.value);
            try STAKE.withdraw(nodeId, address(this)) {
                successes++;
            } catch {}
        }
    }
}
