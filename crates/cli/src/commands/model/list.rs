use std::fmt;

use serde::Serialize;
use veracity_store::Entry;

use crate::{args::Global, data, error::Failure, words};

/// The models of the store.
#[derive(Debug, Serialize)]
pub(super) struct List {
    /// Where they were looked for.
    data: String,
    models: Vec<Row>,
    /// What to say if there is none.
    #[serde(skip)]
    empty: String,
}

#[derive(Debug, Serialize)]
struct Row {
    model_id: String,
    names: Vec<String>,
    size_bytes: u64,
    source_format: Option<String>,
    /// Why the model cannot be read, if it cannot.
    damage: Option<String>,
}

impl From<Entry> for Row {
    fn from(entry: Entry) -> Self {
        Self {
            model_id: entry.id.to_string(),
            names: entry.names.iter().map(ToString::to_string).collect(),
            size_bytes: entry.size_bytes(),
            source_format: entry.manifest.as_ref().ok().map(|m| words::printable(&m.provenance.format)),
            damage: entry.manifest.as_ref().err().map(ToString::to_string),
        }
    }
}

/// Lists the store; one that does not exist holds no model.
pub(super) fn list(global: &Global) -> Result<List, Failure> {
    let folder = data::folder(global)?;
    let data = folder.display().to_string();
    let Some(store) = data::open_existing_store(global)? else {
        let empty =
            format!("no models yet: {}; `veracity import FILE.onnx` makes it", data::no_store(&folder));
        return Ok(List { data, models: Vec::new(), empty });
    };
    let entries = store.list().map_err(|e| data::store_failure(&e))?;
    let empty = format!("no models yet in {data}; import one with `veracity import FILE.onnx`");
    Ok(List { data, models: entries.into_iter().map(Row::from).collect(), empty })
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.models.is_empty() {
            return f.write_str(&self.empty);
        }
        let names = |row: &Row| if row.names.is_empty() { "-".to_owned() } else { row.names.join(",") };
        let width = self.models.iter().map(|r| names(r).len()).max().unwrap_or(0).max(4);
        write!(f, "{:<width$}  {:<16}  {:>10}  SOURCE", "NAME", "ID", "SIZE")?;
        for row in &self.models {
            let id = row.model_id.get(..16).unwrap_or(&row.model_id);
            write!(f, "\n{:<width$}  {id:<16}  {:>10}  ", names(row), words::size(row.size_bytes))?;
            match (&row.damage, &row.source_format) {
                (Some(damage), _) => write!(f, "DAMAGED: {damage}")?,
                (None, format) => f.write_str(format.as_deref().unwrap_or("-"))?,
            }
        }
        Ok(())
    }
}
