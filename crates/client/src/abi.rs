//! The system contracts' interfaces, written out; a test compares them with the artifacts.

#![allow(
    missing_docs,
    missing_debug_implementations,
    reason = "docs/spec/contracts.md says what each one does"
)]
#![allow(clippy::too_many_arguments, reason = "the contract has as many")]

alloy_sol_types::sol! {
    #[derive(Debug, PartialEq, Eq)]
    interface Stake {
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
        struct Unbonding {
            uint128 amount;
            uint64 readyAt;
        }
        error AlreadyCandidate(bytes32 nodeId);
        error AlreadyRegistered(bytes32 nodeId, address operator);
        error AmountAboveBond(uint256 bonded, uint256 amount);
        error BadEndpoint(uint256 position);
        error BadProof(bytes32 nodeId, address operator);
        error BadProofLength(uint256 length);
        error BadRoles(uint256 roles);
        error BondBelowCandidates(uint256 lowest, uint256 bonded);
        error BondTooHigh(uint256 bonded);
        error BondTooLow(uint256 required, uint256 bonded);
        error Ed25519Unavailable();
        error EndpointTooLong(uint256 length);
        error NotOperator(bytes32 nodeId, address operator, address caller);
        error NotValidator(bytes32 nodeId);
        error NothingToWithdraw(uint256 nextAt);
        error PageTooLarge(uint256 count, uint256 max);
        error SameRoles(uint8 roles);
        error TooManyUnbondings(uint256 max);
        error TransferFailed(address to);
        error UnknownNode(bytes32 nodeId);
        error ZeroAmount();
        error ZeroRecipient();
        event Bonded(bytes32 indexed nodeId, uint256 amount, uint256 bond);
        event CandidateJoined(bytes32 indexed nodeId);
        event CandidateLeft(bytes32 indexed nodeId);
        event EndpointChanged(bytes32 indexed nodeId, string endpoint);
        event Registered(bytes32 indexed nodeId, address indexed operator, uint8 roles, string endpoint);
        event RolesChanged(bytes32 indexed nodeId, uint8 roles, uint8 left, uint256 leavesAt);
        event Unbonded(bytes32 indexed nodeId, uint256 amount, uint256 bond, uint256 readyAt);
        event Withdrawn(bytes32 indexed nodeId, address indexed to, uint256 amount);
        function BINDING_NAMESPACE() external view returns (string memory);
        function ENDPOINT_MAX() external view returns (uint256);
        function UNBONDINGS_MAX() external view returns (uint256);
        function bindingMessage(address operator) external view returns (bytes memory);
        function bond(bytes32 nodeId) external payable;
        function candidateList() external view returns (bytes32[] memory);
        function endpointOf(bytes32 nodeId) external view returns (string memory);
        function hasRole(bytes32 nodeId, uint8 roles) external view returns (bool held);
        function isBonded(bytes32 nodeId, uint8 roles) external view returns (bool bonded);
        function node(bytes32 nodeId) external view returns (NodeInfo memory info);
        function nodeCount() external view returns (uint256);
        function nodePage(uint256 offset, uint256 count) external view returns (bytes32[] memory);
        function operatorOf(bytes32 nodeId) external view returns (address operator);
        function register(bytes32 nodeId, uint8 roles, string calldata endpoint, bytes calldata proof) external payable;
        function requiredBond(uint8 roles) external view returns (uint256);
        function setEndpoint(bytes32 nodeId, string calldata endpoint) external;
        function setRoles(bytes32 nodeId, uint8 roles) external;
        function stand(bytes32 nodeId) external;
        function unbond(bytes32 nodeId, uint256 amount) external;
        function unbondingsOf(bytes32 nodeId) external view returns (Unbonding[] memory list);
        function validators(uint256 max) external view returns (bytes32[] memory ids, uint256[] memory bonds);
        function weightOf(bytes32 nodeId) external view returns (uint256 weight);
        function withdraw(bytes32 nodeId, address to) external returns (uint256 amount);
    }

    #[derive(Debug, PartialEq, Eq)]
    interface Parameters {
        struct Proposal {
            bytes32 name;
            uint256 value;
            uint64 expiresAt;
            uint64 readyAt;
            bool executed;
        }
        error AboveGenesis(bytes32 name, uint256 max);
        error AlreadyApproved(uint256 id, bytes32 nodeId);
        error AlreadyExecuted(uint256 id);
        error AlreadyQueued(uint256 id, uint256 readyAt);
        error Expired(uint256 id, uint256 endedAt);
        error FixedAtGenesis(bytes32 name);
        error NotActiveValidator(bytes32 nodeId);
        error NotApproved(uint256 id, bytes32 nodeId);
        error NotEnoughApproval(uint256 approvedWei, uint256 totalWei);
        error NotOperator(bytes32 nodeId, address operator, address caller);
        error NotQueued(uint256 id);
        error OutOfRange(bytes32 name, uint256 value, uint256 min, uint256 max);
        error TooEarly(uint256 id, uint256 readyAt);
        error UnbondDelayTooShort(uint256 requiredS, uint256 givenS);
        error UnknownNode(bytes32 nodeId);
        error UnknownParameter(bytes32 name);
        error UnknownProposal(uint256 id);
        event Approved(uint256 indexed id, bytes32 indexed nodeId);
        event Executed(uint256 indexed id, bytes32 indexed name, uint256 previous, uint256 value);
        event Proposed(uint256 indexed id, bytes32 indexed name, bytes32 indexed nodeId, uint256 value, uint256 expiresAt);
        event Queued(uint256 indexed id, uint256 readyAt);
        event Revoked(uint256 indexed id, bytes32 indexed nodeId);
        function EXECUTION_WINDOW_S() external view returns (uint256);
        function UNBOND_DELAY_EPOCHS() external view returns (uint256);
        function approve(uint256 id, bytes32 nodeId) external;
        function approves(uint256 id, bytes32 nodeId) external view returns (bool);
        function execute(uint256 id) external;
        function get(bytes32 name) external view returns (uint256 value);
        function genesisValidatorsMax() external view returns (uint256);
        function names() external pure returns (bytes32[] memory list);
        function proposal(uint256 id) external view returns (Proposal memory);
        function proposalCount() external view returns (uint256);
        function propose(bytes32 nodeId, bytes32 name, uint256 value) external returns (uint256 id);
        function queue(uint256 id) external;
        function range(bytes32 name) external pure returns (uint256 min, uint256 max);
        function revoke(uint256 id, bytes32 nodeId) external;
        function tally(uint256 id) external view returns (uint256 approvedWei, uint256 totalWei);
    }

    #[derive(Debug, PartialEq, Eq)]
    interface Models {
        struct ModelInfo {
            address owner;
            string name;
            string version;
            string licence;
            uint64 sizeBytes;
            bytes32 manifestRoot;
            uint128 pricePerRequest;
            uint128 pricePerMegaMac;
            uint64 publishedAt;
            uint256 hosts;
        }
        error AlreadyAnnounced(bytes32 modelId, bytes32 nodeId);
        error AlreadyPublished(bytes32 modelId);
        error BadText(string field, uint256 position);
        error Missing(string field);
        error NotAnnounced(bytes32 modelId, bytes32 nodeId);
        error NotBondedHost(bytes32 nodeId);
        error NotNameOwner(address owner);
        error NotOperator(bytes32 nodeId, address operator, address caller);
        error PageTooLarge(uint256 count, uint256 max);
        error StillHost(bytes32 nodeId);
        error TooLong(string field, uint256 length, uint256 max);
        error UnknownModel(bytes32 modelId);
        error UnknownName(string name);
        error UnknownNode(bytes32 nodeId);
        error UnknownVersion(string name, string version);
        error VersionExists(bytes32 modelId);
        error ZeroOwner();
        event Announced(bytes32 indexed modelId, bytes32 indexed nodeId);
        event NameTransferred(bytes32 indexed nameHash, address indexed from, address indexed to);
        event PriceSet(bytes32 indexed modelId, uint128 pricePerRequest, uint128 pricePerMegaMac);
        event Published(bytes32 indexed modelId, bytes32 indexed nameHash, address indexed owner, string name, string version, string licence, uint64 sizeBytes, bytes32 manifestRoot);
        event Retracted(bytes32 indexed modelId, bytes32 indexed nodeId);
        function LICENCE_MAX() external view returns (uint256);
        function NAME_MAX() external view returns (uint256);
        function VERSION_MAX() external view returns (uint256);
        function announce(bytes32 modelId, bytes32 nodeId) external;
        function hostCount(bytes32 modelId) external view returns (uint256);
        function hosts(bytes32 modelId, uint256 offset, uint256 count) external view returns (bytes32[] memory nodeIds, bool[] memory good);
        function isAnnounced(bytes32 modelId, bytes32 nodeId) external view returns (bool);
        function model(bytes32 modelId) external view returns (ModelInfo memory info);
        function modelCount() external view returns (uint256);
        function modelPage(uint256 offset, uint256 count) external view returns (bytes32[] memory);
        function ownerOf(string calldata name) external view returns (address);
        function prune(bytes32 modelId, bytes32 nodeId) external;
        function publish(bytes32 modelId, string calldata name, string calldata version, string calldata licence, uint64 sizeBytes, bytes32 manifestRoot, uint128 pricePerRequest, uint128 pricePerMegaMac) external;
        function resolve(string calldata name) external view returns (bytes32 modelId);
        function resolve(string calldata name, string calldata version) external view returns (bytes32 modelId);
        function retract(bytes32 modelId, bytes32 nodeId) external;
        function setPrice(bytes32 modelId, uint128 pricePerRequest, uint128 pricePerMegaMac) external;
        function transferName(string calldata name, address to) external;
        function versionCount(string calldata name) external view returns (uint256);
        function versionPage(string calldata name, uint256 offset, uint256 count) external view returns (bytes32[] memory);
    }

    #[derive(Debug, PartialEq, Eq)]
    interface Receipts {
        struct Batch {
            bytes32 root;
            uint64 first;
            uint32 count;
            uint64 height;
            uint64 anchoredAt;
        }
        error BadCount(uint256 count);
        error EmptyRoot();
        error NotAnchored(bytes32 nodeId, uint64 next);
        error NotBondedWorker(bytes32 nodeId);
        error NotOperator(bytes32 nodeId, address operator, address caller);
        error UnknownBatch(bytes32 nodeId, uint256 count);
        error UnknownNode(bytes32 nodeId);
        error WrongSequence(uint64 next, uint64 given);
        event Anchored(bytes32 indexed nodeId, uint256 indexed batch, uint64 first, uint32 count, bytes32 root);
        function COUNT_MAX() external view returns (uint256);
        function anchor(bytes32 nodeId, uint64 first, uint32 count, bytes32 root) external returns (uint256 batch);
        function batchAt(bytes32 nodeId, uint256 batch) external view returns (Batch memory);
        function batchCount(bytes32 nodeId) external view returns (uint256);
        function locate(bytes32 nodeId, uint64 sequence) external view returns (uint256 batch, uint256 index);
        function nextSequence(bytes32 nodeId) external view returns (uint64);
        function verify(bytes32 nodeId, uint256 batch, uint256 index, bytes32 receiptId, bytes32[] calldata path) external view returns (bool);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use alloy_primitives::{B256, keccak256};
    use alloy_sol_types::{SolEventInterface as _, SolInterface};
    use serde_json::Value;

    use super::*;

    /// `name(type,...)`, tuples spelled out.
    fn signature(entry: &Value) -> String {
        format!("{}({})", entry["name"].as_str().unwrap(), types(&entry["inputs"]))
    }

    fn types(inputs: &Value) -> String {
        let of = |input: &Value| match input["type"].as_str().unwrap().strip_prefix("tuple") {
            Some(suffix) => format!("({}){suffix}", types(&input["components"])),
            None => input["type"].as_str().unwrap().to_owned(),
        };
        inputs.as_array().unwrap().iter().map(of).collect::<Vec<_>>().join(",")
    }

    fn hashes(contract: &str, kind: &str) -> BTreeSet<B256> {
        let path = format!("{}/../../contracts/artifacts/{contract}.json", env!("CARGO_MANIFEST_DIR"));
        let artifact: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let entries = artifact["abi"].as_array().unwrap().iter().filter(|entry| entry["type"] == kind);
        entries.map(|entry| keccak256(signature(entry))).collect()
    }

    fn selectors<I: SolInterface>() -> BTreeSet<[u8; 4]> {
        I::selectors().collect()
    }

    fn expected(contract: &str, kind: &str) -> BTreeSet<[u8; 4]> {
        hashes(contract, kind).iter().map(|hash| hash[..4].try_into().unwrap()).collect()
    }

    /// What is written here is what was compiled, neither more nor less.
    #[test]
    fn the_interfaces_are_those_of_the_artifacts() {
        assert_eq!(selectors::<Stake::StakeCalls>(), expected("Stake", "function"));
        assert_eq!(selectors::<Stake::StakeErrors>(), expected("Stake", "error"));
        assert_eq!(selectors::<Parameters::ParametersCalls>(), expected("Parameters", "function"));
        assert_eq!(selectors::<Parameters::ParametersErrors>(), expected("Parameters", "error"));
        assert_eq!(selectors::<Models::ModelsCalls>(), expected("Models", "function"));
        assert_eq!(selectors::<Models::ModelsErrors>(), expected("Models", "error"));
        assert_eq!(selectors::<Receipts::ReceiptsCalls>(), expected("Receipts", "function"));
        assert_eq!(selectors::<Receipts::ReceiptsErrors>(), expected("Receipts", "error"));
        let events = |found: &[[u8; 32]]| found.iter().map(B256::from).collect::<BTreeSet<_>>();
        assert_eq!(events(Stake::StakeEvents::SELECTORS), hashes("Stake", "event"));
        assert_eq!(events(Parameters::ParametersEvents::SELECTORS), hashes("Parameters", "event"));
        assert_eq!(events(Models::ModelsEvents::SELECTORS), hashes("Models", "event"));
        assert_eq!(events(Receipts::ReceiptsEvents::SELECTORS), hashes("Receipts", "event"));
        assert_eq!(Stake::StakeEvents::COUNT, 8);
    }
}
