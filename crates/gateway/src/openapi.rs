//! The OpenAPI document, made from the table of routes.

use serde_json::{Map, Value, json};

use crate::{
    routes::{ROUTES, Route},
    schemas::schemas,
};

/// The OpenAPI 3.1 description of all routes, as `GET /openapi.json` serves it.
#[must_use]
pub fn openapi() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Veracity",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Inference that anyone can verify: the Open Inference Protocol v2 with the binary tensor data extension, and receipts.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": { "schemas": schemas() },
    })
}

fn operation(route: &Route) -> Value {
    let (status, media_type, schema) = route.response;
    let mut success = json!({ "description": "Success", "content": { media_type: content(schema) } });
    let mut parameters = path_parameters(route.path);
    match route.name {
        "infer" | "infer_version" => {
            parameters.push(header(
                "Inference-Header-Content-Length",
                "Bytes of JSON at the front of the body, if binary tensors follow",
            ));
            parameters.push(header("x-receipt", "`inline` asks for the receipt in the response"));
            success["headers"] = json!({
                "x-receipt-id": described("Id of the receipt"),
                "x-receipt": described("The receipt in base64, if asked for"),
                "Inference-Header-Content-Length": described("Bytes of JSON at the front of the body, if binary tensors follow"),
            });
            success["content"]["application/octet-stream"] = content("Binary");
        }
        "model_upload" => {
            let schema = json!({ "type": "string" });
            parameters.push(json!({ "name": "name", "in": "query", "required": false, "description": "Name to give to the model", "schema": schema }));
        }
        _ => {}
    }
    let error = json!({ "description": "Refused; `code` is stable", "content": { "application/json": content("Error") } });
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.summary,
        "parameters": parameters,
        "responses": { status.to_string(): success, "default": error },
    });
    if let Some((media_type, schema)) = route.request {
        let mut contents = json!({ media_type: content(schema) });
        if route.name.starts_with("infer") {
            contents["application/octet-stream"] = content("Binary");
        }
        operation["requestBody"] =
            json!({ "required": route.name != "repository_index", "content": contents });
    }
    operation
}

fn content(schema: &str) -> Value {
    json!({ "schema": { "$ref": format!("#/components/schemas/{schema}") } })
}

fn described(description: &str) -> Value {
    json!({ "description": description, "schema": { "type": "string" } })
}

fn header(name: &str, description: &str) -> Value {
    let schema = json!({ "type": "string" });
    json!({ "name": name, "in": "header", "required": false, "description": description, "schema": schema })
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let schema = json!({ "type": "string" });
    names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": schema })).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::REFUSALS;

    /// The table of refusals in Markdown, as `docs/spec/inference-protocol.md` prints it.
    fn refusals_markdown() -> String {
        let row = |r: &veracity_worker::Refusal| {
            let local = if r.local { "local" } else { "" };
            format!("| `{}` | {} | {local} | {} |\n", r.code, r.status, r.meaning)
        };
        let rows = |refusals: &[veracity_worker::Refusal]| refusals.iter().map(row).collect::<String>();
        let head = "| code | status | | meaning |\n|---|---|---|---|\n";
        format!(
            "Inference:\n\n{head}{}\nServer:\n\n{head}{}",
            rows(veracity_worker::REFUSALS),
            rows(REFUSALS)
        )
    }

    /// Set `UPDATE_DOCS=1` to write the table.
    #[test]
    fn the_table_of_refusals_is_in_the_specification() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/inference-protocol.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (front, rest) = page.split_once("<!-- refusals:").unwrap();
        let (marker, rest) = rest.split_once("-->\n").unwrap();
        let (_, back) = rest.split_once("<!-- end of refusals -->").unwrap();
        let fresh = format!(
            "{front}<!-- refusals:{marker}-->\n\n{}\n<!-- end of refusals -->{back}",
            refusals_markdown()
        );
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &fresh).unwrap();
        }
        assert!(
            page == fresh || std::env::var_os("UPDATE_DOCS").is_some(),
            "run: UPDATE_DOCS=1 cargo test -p veracity-gateway"
        );
    }

    #[test]
    fn codes_are_distinct() {
        let all: Vec<&str> = veracity_worker::REFUSALS.iter().chain(REFUSALS).map(|r| r.code).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn the_document_is_whole() {
        let document = openapi();
        let text = document.to_string();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for used in text.split("#/components/schemas/").skip(1).map(|t| t.split('"').next().unwrap()) {
            assert!(schemas.contains_key(used), "{used}");
        }
        let operations: usize =
            document["paths"].as_object().unwrap().values().map(|p| p.as_object().unwrap().len()).sum();
        assert_eq!(operations, ROUTES.len());
        assert_eq!(ROUTES.iter().map(|r| r.name).collect::<BTreeSet<_>>().len(), ROUTES.len());
    }
}
