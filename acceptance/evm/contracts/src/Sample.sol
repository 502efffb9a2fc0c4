// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Something of every kind that clients encode and decode.
contract Sample {
    struct Point {
        int128 x;
        uint64 y;
        string label;
    }

    event Changed(address indexed by, uint256 indexed previous, uint256 value, string note);
    event Received(address indexed from, uint256 amount);

    error TooLarge(uint256 given, uint256 limit);
    error NotOwner(address caller, string advice);

    uint256 public constant LIMIT = 1_000_000;

    uint256 public value;
    string public label;
    address public immutable owner;
    mapping(address => uint256) public received;
    uint256[] private numbers;

    constructor(uint256 value_, string memory label_) payable {
        value = value_;
        label = label_;
        owner = msg.sender;
    }

    receive() external payable {
        received[msg.sender] += msg.value;
        emit Received(msg.sender, msg.value);
    }

    function set(uint256 value_, string calldata note) external returns (uint256 previous) {
        if (value_ > LIMIT) revert TooLarge(value_, LIMIT);
        previous = value;
        value = value_;
        emit Changed(msg.sender, previous, value_, note);
    }

    /// As many events as asked for, so that logs can be counted.
    function setMany(uint256 first, uint256 count) external {
        for (uint256 i = 0; i < count; ++i) {
            emit Changed(msg.sender, value, first + i, "many");
            value = first + i;
        }
    }

    function echo(Point[] calldata points, bytes calldata data, bool flag)
        external
        pure
        returns (Point[] memory, bytes memory, bool)
    {
        return (points, data, flag);
    }

    function sum(bytes calldata data) external returns (uint256 total) {
        for (uint256 i = 0; i < data.length; i += 32) total += uint256(bytes32(data[i:i + 32]));
        value = total % LIMIT;
    }

    function failReason(string calldata reason) external pure {
        revert(reason);
    }

    function failCustom() external view {
        revert NotOwner(msg.sender, "ask the owner");
    }

    function failEmpty() external pure {
        revert();
    }

    function failAssert() external pure {
        assert(false);
    }

    function divide(uint256 a, uint256 b) external pure returns (uint256) {
        return a / b;
    }

    function add(uint256 a, uint256 b) external pure returns (uint256) {
        return a + b;
    }

    function numberAt(uint256 index) external view returns (uint256) {
        return numbers[index];
    }

    /// Burns all gas it is given.
    function spin() external pure {
        while (true) {}
    }

    /// Reads one slot of another contract's and one of its own, which an access list then names.
    function readOther(Sample other) external view returns (uint256) {
        return other.value() + value;
    }

    function blockFacts() external view returns (uint256 number, uint256 timestamp, uint256 chainId, bytes32 parent) {
        return (block.number, block.timestamp, block.chainid, blockhash(block.number - 1));
    }
}
