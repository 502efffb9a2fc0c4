use serde_json::{Value, json};

/// The schemas of the OpenAPI document.
pub(crate) fn schemas() -> Value {
    let text = || json!({ "type": "string" });
    let integer = || json!({ "type": "integer" });
    let truth = || json!({ "type": "boolean" });
    let any = || json!({});
    let list = |items: Value| json!({ "type": "array", "items": items });
    let schema = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let object = |required: &[&str], properties: Value| json!({ "type": "object", "required": required, "properties": properties });
    let closed = |required: &[&str], properties: Value| {
        let mut object = object(required, properties);
        object["additionalProperties"] = json!(false);
        object
    };
    let mut id = text();
    id["pattern"] = json!("^[0-9a-f]{64}$");
    let mut datatype = text();
    datatype["enum"] = json!(["FP32", "INT32", "INT64"]);
    let optional = |mut value: Value| {
        value["type"] = json!([value["type"].clone(), "null"]);
        value
    };
    let part = || object(&["digest", "size_bytes"], json!({ "digest": id, "size_bytes": integer() }));
    let row = object(
        &["name", "version", "state", "reason"],
        json!({ "name": text(), "version": id, "state": text(), "reason": text() }),
    );
    json!({
        "Anything": any(),
        "Binary": { "type": "string", "format": "binary" },
        "Text": text(),
        "Report": any(),
        "Error": object(&["error", "code"], json!({ "error": text(), "code": text() })),
        "Live": object(&["live"], json!({ "live": truth() })),
        "Ready": object(&["ready"], json!({ "ready": truth() })),
        "ServerMetadata": object(&["name", "version", "extensions"], json!({ "name": text(), "version": text(), "extensions": list(text()) })),
        "Tensor": object(&["name", "datatype", "shape"], json!({ "name": text(), "datatype": datatype, "shape": list(integer()) })),
        "ModelMetadata": object(&["name", "versions", "platform", "inputs", "outputs"], json!({
            "name": text(), "versions": list(id.clone()), "platform": text(),
            "inputs": list(schema("Tensor")), "outputs": list(schema("Tensor")),
        })),
        "ModelReady": object(&["name", "ready"], json!({ "name": text(), "ready": truth() })),
        "IndexRequest": closed(&[], json!({ "ready": truth() })),
        "RepositoryIndex": list(row.clone()),
        "Index": object(&["models"], json!({ "models": list(row) })),
        "InferRequest": closed(&["inputs"], json!({
            "id": text(), "model_name": text(), "model_version": id,
            "parameters": closed(&[], json!({ "binary_data_output": truth() })),
            "inputs": list(closed(&["name", "datatype", "shape"], json!({
                "name": text(), "datatype": datatype, "shape": list(integer()), "data": list(any()),
                "parameters": closed(&[], json!({ "binary_data_size": integer() })),
            }))),
            "outputs": list(closed(&["name"], json!({
                "name": text(), "parameters": closed(&[], json!({ "binary_data": truth() })),
            }))),
        })),
        "InferResponse": object(&["model_name", "model_version", "outputs"], json!({
            "id": text(), "model_name": text(), "model_version": id,
            "outputs": list(object(&["name", "datatype", "shape"], json!({
                "name": text(), "datatype": datatype, "shape": list(integer()), "data": list(any()),
                "parameters": object(&[], json!({ "binary_data_size": integer() })),
            }))),
        })),
        "Uploaded": object(&["id", "name"], json!({ "id": id, "name": optional(text()) })),
        "Identified": object(&["id"], json!({ "id": id })),
        "Removed": object(&["id", "names", "model_removed"], json!({ "id": optional(text()), "names": list(text()), "model_removed": truth() })),
        "ModelList": object(&["models"], json!({ "models": list(object(&["id", "names", "size_bytes", "error"], json!({
            "id": id, "names": list(text()), "size_bytes": integer(), "error": optional(text()),
        }))) })),
        "Model": object(&["id", "names", "manifest", "inputs", "outputs", "report", "report_error"], json!({
            "id": id, "names": list(text()), "inputs": list(schema("Tensor")), "outputs": list(schema("Tensor")), "report": any(),
            "report_error": optional(text()),
            "manifest": object(&["graph", "weights", "provenance"], json!({
                "graph": part(), "weights": part(),
                "provenance": object(&["converter", "format", "source", "options", "samples"], json!({
                    "converter": text(), "format": text(), "source": id, "options": text(), "samples": optional(text()),
                })),
            })),
        })),
    })
}
