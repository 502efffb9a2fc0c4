// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Code for an account to delegate to (EIP-7702): the account makes several calls in one transaction.
contract Batch {
    struct Call {
        address to;
        uint256 value;
        bytes data;
    }

    event Executed(address indexed account, uint256 calls);

    error NotTheAccount(address caller);

    function execute(Call[] calldata calls) external payable {
        if (msg.sender != address(this)) revert NotTheAccount(msg.sender);
        for (uint256 i = 0; i < calls.length; ++i) {
            (bool success,) = calls[i].to.call{value: calls[i].value}(calls[i].data);
            require(success, "a call of the batch failed");
        }
        emit Executed(address(this), calls.length);
    }

    receive() external payable {}
}
