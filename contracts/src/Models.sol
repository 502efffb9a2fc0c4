// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {HOST, STAKE, page, requireOperator} from "./System.sol";

/// @title Models: names, versions, prices, and who hosts what.
/// @notice A model id is the BLAKE3 hash of the manifest, so an id alone is enough to fetch and check a model; this
/// registry adds names for people, and says where to fetch. Names are first come, and their owner may pass them on.
/// A published version never changes and never goes away; its price may change.
/// @dev The contract cannot check what a publisher states about a model (size, manifest root, licence). Size and root
/// follow from the manifest: a node that fetches the manifest compares them, and ignores an entry that lies.
contract Models {
    struct Model {
        bytes32 name; // word 0: keccak256 of the name
        bytes32 manifestRoot; // word 1
        uint128 pricePerRequest; // word 2, byte 0 (lowest)
        uint128 pricePerMegaMac; // word 2, byte 16
        uint64 sizeBytes; // word 3, byte 0
        uint64 publishedAt; // word 3, byte 8
        string version; // word 4
        string licence; // word 5
    }

    struct Name {
        address owner; // word 0
        string text; // word 1
        bytes32[] versions; // word 2: model ids, oldest first
        mapping(bytes32 => bytes32) modelOf; // word 3: keccak256 of the version -> model id
    }

    /// @notice What is known about a model.
    /// @param owner Owner of its name, who sets the price.
    /// @param name Its name.
    /// @param version Its version.
    /// @param licence SPDX expression.
    /// @param sizeBytes Bytes to download, as the publisher states it.
    /// @param manifestRoot Root of the manifest's tree, as the publisher states it.
    /// @param pricePerRequest Wei for each request.
    /// @param pricePerMegaMac Wei for each million multiply-accumulates.
    /// @param publishedAt Second of publication.
    /// @param hosts Number of nodes that announced it.
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

    /// @notice Longest name, in bytes.
    uint256 public constant NAME_MAX = 96;
    /// @notice Longest version, in bytes.
    uint256 public constant VERSION_MAX = 31;
    /// @notice Longest licence expression, in bytes.
    uint256 public constant LICENCE_MAX = 128;

    mapping(bytes32 modelId => Model) private models; // slot 0
    mapping(bytes32 nameHash => Name) private names; // slot 1
    bytes32[] private modelIds; // slot 2: append-only
    mapping(bytes32 modelId => bytes32[]) private hostLists; // slot 3: node ids, in no order
    mapping(bytes32 modelId => mapping(bytes32 nodeId => uint256)) private hostPlaces; // slot 4: place plus one

    /// @notice A version of a model is published.
    /// @param modelId Its id.
    /// @param nameHash keccak256 of its name.
    /// @param owner Owner of the name.
    /// @param name Its name.
    /// @param version Its version.
    /// @param licence SPDX expression.
    /// @param sizeBytes Bytes to download.
    /// @param manifestRoot Root of the manifest's tree.
    event Published(
        bytes32 indexed modelId,
        bytes32 indexed nameHash,
        address indexed owner,
        string name,
        string version,
        string licence,
        uint64 sizeBytes,
        bytes32 manifestRoot
    );
    /// @notice A model has a price.
    /// @param modelId The model.
    /// @param pricePerRequest Wei for each request.
    /// @param pricePerMegaMac Wei for each million multiply-accumulates.
    event PriceSet(bytes32 indexed modelId, uint128 pricePerRequest, uint128 pricePerMegaMac);
    /// @notice A name has another owner.
    /// @param nameHash keccak256 of the name.
    /// @param from Owner before.
    /// @param to Owner now.
    event NameTransferred(bytes32 indexed nameHash, address indexed from, address indexed to);
    /// @notice A node serves a model.
    /// @param modelId The model.
    /// @param nodeId The node.
    event Announced(bytes32 indexed modelId, bytes32 indexed nodeId);
    /// @notice A node no longer serves a model.
    /// @param modelId The model.
    /// @param nodeId The node.
    event Retracted(bytes32 indexed modelId, bytes32 indexed nodeId);

    /// @notice A field that must be given is empty or zero.
    /// @param field Its name.
    error Missing(string field);
    /// @notice A field is too long.
    /// @param field Its name.
    /// @param length Bytes that were given.
    /// @param max Longest allowed.
    error TooLong(string field, uint256 length, uint256 max);
    /// @notice A field has a byte that it must not have at this place. Names are made of a-z, 0-9 and the separators
    /// - . _ / and versions of the same without /. They begin and end with a letter or digit, and no two separators
    /// stand side by side. A licence is printable ASCII.
    /// @param field Its name.
    /// @param position Index of the first bad byte.
    error BadText(string field, uint256 position);
    /// @notice The model is published already. Find its name with `model(modelId)`.
    /// @param modelId The model.
    error AlreadyPublished(bytes32 modelId);
    /// @notice The name belongs to somebody else. Choose another one, or ask the owner to publish.
    /// @param owner Its owner.
    error NotNameOwner(address owner);
    /// @notice The name has this version already, and a version never changes. Choose the next one.
    /// @param modelId Model that has it.
    error VersionExists(bytes32 modelId);
    /// @notice No model of this id is published.
    /// @param modelId Id that was given.
    error UnknownModel(bytes32 modelId);
    /// @notice Nobody has published under this name.
    /// @param name Name that was given.
    error UnknownName(string name);
    /// @notice The name has no such version; `versionPage` lists those that it has.
    /// @param name Name that was given.
    /// @param version Version that was given.
    error UnknownVersion(string name, string version);
    /// @notice A name can not go to the zero address. Name a new owner.
    error ZeroOwner();
    /// @notice Only a node with the role HOST and enough bond for its roles can announce. Bond more or take the role.
    /// @param nodeId The node.
    error NotBondedHost(bytes32 nodeId);
    /// @notice The node has announced this model already. Nothing needs to be done.
    /// @param modelId The model.
    /// @param nodeId The node.
    error AlreadyAnnounced(bytes32 modelId, bytes32 nodeId);
    /// @notice The node has not announced this model. Nothing needs to be done.
    /// @param modelId The model.
    /// @param nodeId The node.
    error NotAnnounced(bytes32 modelId, bytes32 nodeId);
    /// @notice The node is a host in good standing; only its operator can retract.
    /// @param nodeId The node.
    error StillHost(bytes32 nodeId);

    /// @notice Publishes a model as a version of a name. Whoever is first to use a name owns it.
    /// @param modelId BLAKE3 hash of the manifest.
    /// @param name Name, at most 96 bytes, like `veracity/digits-cnn`.
    /// @param version Version, at most 31 bytes, like `1.0.0`. Latest is what was published last.
    /// @param licence SPDX expression, at most 128 bytes, like `MIT OR Apache-2.0`.
    /// @param sizeBytes Bytes to download.
    /// @param manifestRoot Root of the manifest's tree.
    /// @param pricePerRequest Wei for each request; may be zero.
    /// @param pricePerMegaMac Wei for each million multiply-accumulates; may be zero.
    function publish(
        bytes32 modelId,
        string calldata name,
        string calldata version,
        string calldata licence,
        uint64 sizeBytes,
        bytes32 manifestRoot,
        uint128 pricePerRequest,
        uint128 pricePerMegaMac
    ) external {
        if (modelId == 0) revert Missing("modelId");
        if (sizeBytes == 0) revert Missing("sizeBytes");
        if (manifestRoot == 0) revert Missing("manifestRoot");
        _requireIdentifier("name", name, NAME_MAX, true);
        _requireIdentifier("version", version, VERSION_MAX, false);
        _requirePrintable("licence", licence, LICENCE_MAX);
        Model storage m = models[modelId];
        if (m.sizeBytes != 0) revert AlreadyPublished(modelId);
        bytes32 nameHash = keccak256(bytes(name));
        Name storage n = names[nameHash];
        if (n.owner == address(0)) {
            n.owner = msg.sender;
            n.text = name;
        } else if (n.owner != msg.sender) {
            revert NotNameOwner(n.owner);
        }
        bytes32 versionHash = keccak256(bytes(version));
        if (n.modelOf[versionHash] != 0) revert VersionExists(n.modelOf[versionHash]);

        n.modelOf[versionHash] = modelId;
        n.versions.push(modelId);
        modelIds.push(modelId);
        m.name = nameHash;
        m.manifestRoot = manifestRoot;
        m.sizeBytes = sizeBytes;
        m.publishedAt = uint64(block.timestamp);
        m.pricePerRequest = pricePerRequest;
        m.pricePerMegaMac = pricePerMegaMac;
        m.version = version;
        m.licence = licence;
        emit Published(modelId, nameHash, msg.sender, name, version, licence, sizeBytes, manifestRoot);
        emit PriceSet(modelId, pricePerRequest, pricePerMegaMac);
    }

    /// @notice Changes the price of a model, for requests that are quoted from now on.
    /// @param modelId A model under a name of the caller.
    /// @param pricePerRequest Wei for each request.
    /// @param pricePerMegaMac Wei for each million multiply-accumulates.
    function setPrice(bytes32 modelId, uint128 pricePerRequest, uint128 pricePerMegaMac) external {
        Model storage m = _model(modelId);
        address owner = names[m.name].owner;
        if (owner != msg.sender) revert NotNameOwner(owner);
        m.pricePerRequest = pricePerRequest;
        m.pricePerMegaMac = pricePerMegaMac;
        emit PriceSet(modelId, pricePerRequest, pricePerMegaMac);
    }

    /// @notice Passes a name on, with all its versions. There is no way back but by the new owner.
    /// @param name A name of the caller.
    /// @param to New owner.
    function transferName(string calldata name, address to) external {
        Name storage n = _name(name);
        if (n.owner != msg.sender) revert NotNameOwner(n.owner);
        if (to == address(0)) revert ZeroOwner();
        n.owner = to;
        emit NameTransferred(keccak256(bytes(name)), msg.sender, to);
    }

    /// @notice Says that a node serves a model.
    /// @param modelId The model.
    /// @param nodeId A host of the caller.
    function announce(bytes32 modelId, bytes32 nodeId) external {
        requireOperator(nodeId);
        _model(modelId);
        if (!STAKE.hasRole(nodeId, HOST)) revert NotBondedHost(nodeId);
        if (hostPlaces[modelId][nodeId] != 0) revert AlreadyAnnounced(modelId, nodeId);
        hostLists[modelId].push(nodeId);
        hostPlaces[modelId][nodeId] = hostLists[modelId].length;
        emit Announced(modelId, nodeId);
    }

    /// @notice Says that a node no longer serves a model.
    /// @param modelId The model.
    /// @param nodeId A node of the caller.
    function retract(bytes32 modelId, bytes32 nodeId) external {
        requireOperator(nodeId);
        _retract(modelId, nodeId);
    }

    /// @notice Removes a node that is no longer a host, or has too little bond, from the hosts of a model. Anyone may
    /// call it.
    /// @param modelId The model.
    /// @param nodeId The node.
    function prune(bytes32 modelId, bytes32 nodeId) external {
        if (STAKE.hasRole(nodeId, HOST)) revert StillHost(nodeId);
        _retract(modelId, nodeId);
    }

    /// @notice Model that was published last under a name.
    /// @param name The name.
    /// @return modelId Its id.
    function resolve(string calldata name) external view returns (bytes32 modelId) {
        Name storage n = _name(name);
        return n.versions[n.versions.length - 1];
    }

    /// @notice Model of a name and a version.
    /// @param name The name.
    /// @param version The version.
    /// @return modelId Its id.
    function resolve(string calldata name, string calldata version) external view returns (bytes32 modelId) {
        modelId = _name(name).modelOf[keccak256(bytes(version))];
        if (modelId == 0) revert UnknownVersion(name, version);
    }

    /// @notice Owner of a name. Reverts when nobody has it.
    /// @param name The name.
    /// @return The owner.
    function ownerOf(string calldata name) external view returns (address) {
        return _name(name).owner;
    }

    /// @notice What is known about a model. Reverts when it is not published.
    /// @param modelId Its id.
    /// @return info All of it.
    function model(bytes32 modelId) external view returns (ModelInfo memory info) {
        Model storage m = _model(modelId);
        Name storage n = names[m.name];
        info.owner = n.owner;
        info.name = n.text;
        info.version = m.version;
        info.licence = m.licence;
        info.sizeBytes = m.sizeBytes;
        info.manifestRoot = m.manifestRoot;
        info.pricePerRequest = m.pricePerRequest;
        info.pricePerMegaMac = m.pricePerMegaMac;
        info.publishedAt = m.publishedAt;
        info.hosts = hostLists[modelId].length;
    }

    /// @notice Number of published models.
    /// @return The number.
    function modelCount() external view returns (uint256) {
        return modelIds.length;
    }

    /// @notice Models in the order of publication.
    /// @param offset How many to skip.
    /// @param count How many to return at most, up to 256.
    /// @return Their ids.
    function modelPage(uint256 offset, uint256 count) external view returns (bytes32[] memory) {
        return page(modelIds, offset, count);
    }

    /// @notice Number of versions of a name.
    /// @param name The name.
    /// @return The number.
    function versionCount(string calldata name) external view returns (uint256) {
        return _name(name).versions.length;
    }

    /// @notice Versions of a name, oldest first.
    /// @param name The name.
    /// @param offset How many to skip.
    /// @param count How many to return at most, up to 256.
    /// @return Their model ids.
    function versionPage(string calldata name, uint256 offset, uint256 count)
        external
        view
        returns (bytes32[] memory)
    {
        return page(_name(name).versions, offset, count);
    }

    /// @notice Number of nodes that announced a model, those that have lost their role included.
    /// @param modelId The model.
    /// @return The number.
    function hostCount(bytes32 modelId) external view returns (uint256) {
        return hostLists[modelId].length;
    }

    /// @notice Nodes that announced a model, in no order. A retraction between two pages moves the last one forward,
    /// so read all pages at one block.
    /// @param modelId The model.
    /// @param offset How many to skip.
    /// @param count How many to return at most, up to 256.
    /// @return nodeIds The nodes.
    /// @return good For each, whether it is a host with enough bond now.
    function hosts(bytes32 modelId, uint256 offset, uint256 count)
        external
        view
        returns (bytes32[] memory nodeIds, bool[] memory good)
    {
        nodeIds = page(hostLists[modelId], offset, count);
        good = new bool[](nodeIds.length);
        for (uint256 i = 0; i < nodeIds.length; i++) {
            good[i] = STAKE.hasRole(nodeIds[i], HOST);
        }
    }

    /// @notice Whether a node announced a model.
    /// @param modelId The model.
    /// @param nodeId The node.
    /// @return True when it did.
    function isAnnounced(bytes32 modelId, bytes32 nodeId) external view returns (bool) {
        return hostPlaces[modelId][nodeId] != 0;
    }

    function _model(bytes32 modelId) private view returns (Model storage m) {
        m = models[modelId];
        if (m.sizeBytes == 0) revert UnknownModel(modelId);
    }

    function _name(string calldata name) private view returns (Name storage n) {
        n = names[keccak256(bytes(name))];
        if (n.owner == address(0)) revert UnknownName(name);
    }

    /// @dev Takes a node from the list of hosts; the last one moves to its place.
    function _retract(bytes32 modelId, bytes32 nodeId) private {
        mapping(bytes32 => uint256) storage places = hostPlaces[modelId];
        uint256 place = places[nodeId];
        if (place == 0) revert NotAnnounced(modelId, nodeId);
        bytes32[] storage list = hostLists[modelId];
        bytes32 last = list[list.length - 1];
        list[place - 1] = last;
        places[last] = place;
        list.pop();
        delete places[nodeId];
        emit Retracted(modelId, nodeId);
    }

    /// @dev One spelling for each name, and none that is a path trick: no `..`, no `//`, no leading `/`, `.` or `-`.
    function _requireIdentifier(string memory field, string calldata value, uint256 max, bool slash) private pure {
        bytes calldata text = bytes(value);
        _requireLength(field, text.length, max);
        bool separator = true; // whether a separator would be out of place here
        for (uint256 i = 0; i < text.length; i++) {
            bytes1 c = text[i];
            if ((c >= "a" && c <= "z") || (c >= "0" && c <= "9")) {
                separator = false;
            } else {
                bool known = c == "-" || c == "." || c == "_" || (slash && c == "/");
                if (!known || separator || i == text.length - 1) revert BadText(field, i);
                separator = true;
            }
        }
    }

    function _requirePrintable(string memory field, string calldata value, uint256 max) private pure {
        bytes calldata text = bytes(value);
        _requireLength(field, text.length, max);
        for (uint256 i = 0; i < text.length; i++) {
            if (text[i] < 0x20 || text[i] > 0x7e) revert BadText(field, i);
        }
    }

    function _requireLength(string memory field, uint256 length, uint256 max) private pure {
        if (length == 0) revert Missing(field);
        if (length > max) revert TooLong(field, length, max);
    }
}
