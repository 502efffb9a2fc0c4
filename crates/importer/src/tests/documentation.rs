//! `docs/importing.md` lists exactly what the dispatcher reads.

use std::{collections::BTreeSet, path::Path};

use super::{builder::Onnx, try_import};
use crate::ImportError;

/// Operators of the first column of the tables that follow the heading `Operators`.
fn documented() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/importing.md");
    let text = std::fs::read_to_string(path).unwrap();
    let section = text.split("\n## ").find(|s| s.starts_with("Operators")).unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    cells
        .flat_map(|cell| cell.split('`').filter(|s| s.chars().all(char::is_alphanumeric)))
        .filter(|s| !s.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Every operator that the sources name in a match arm of the dispatchers.
fn dispatched() -> BTreeSet<String> {
    let sources =
        [include_str!("../read_ops.rs"), include_str!("../read_quantised.rs"), include_str!("../read.rs")];
    let words = sources.iter().flat_map(|s| s.split('"').skip(1).step_by(2));
    words
        .filter(|w| w.starts_with(char::is_uppercase) && w.chars().all(char::is_alphanumeric))
        .map(str::to_owned)
        .collect()
}

/// Whether the importer knows the operator, in whichever domain it lives: it may refuse this use of it, by reason.
fn is_known(op: &str) -> bool {
    ["", "com.microsoft"].iter().any(|domain| {
        let name = if domain.is_empty() { op.to_owned() } else { format!("{domain}.{op}") };
        let model = Onnx::new(&[-1, 2, 3]).node(&name, "x", "y", &[]).output("y");
        !matches!(try_import(&model), Err(ImportError::UnsupportedOperator { .. }))
    })
}

#[test]
fn documented_operators_are_read() {
    let documented = documented();
    assert!(documented.len() > 60, "{documented:?}");
    for op in &documented {
        assert!(is_known(op), "docs/importing.md lists {op}, which is refused");
    }
}

#[test]
fn operators_that_are_read_are_documented() {
    let documented = documented();
    for op in dispatched().iter().filter(|op| is_known(op)) {
        assert!(documented.contains(op), "{op} is read, and docs/importing.md does not list it");
    }
}
