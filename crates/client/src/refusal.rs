//! The words of a contract that refuses.

use std::fmt;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::SolError;

use crate::refusals::{Row, TABLE};

/// Most bytes of a text in an error that are shown.
const TEXT_BYTES_MAX: usize = 256;

/// A contract reverted: its typed error, and what it says to do.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    data: Bytes,
    /// What the node made of it; used for errors that are none of the system contracts'.
    reason: String,
}

impl std::error::Error for Refusal {}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refusal({self})")
    }
}

impl Refusal {
    pub(crate) fn new(data: Bytes, reason: String) -> Self {
        Self { data, reason }
    }

    /// The name of the error, if it is one of the system contracts'.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        self.row().map(|(name, ..)| *name)
    }

    /// The error as the contract's type, if it is this one.
    #[must_use]
    pub fn decode<E: SolError>(&self) -> Option<E> {
        E::abi_decode_validate(&self.data).ok()
    }

    /// The bytes that the contract gave back.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    fn row(&self) -> Option<&'static Row> {
        let selector = self.data.get(..4)?;
        TABLE.iter().find(|row| keccak256(signature(row))[..4] == *selector)
    }
}

/// `BondTooLow (required 1000, bonded 1): The bond is too low for the roles. Bond more, or offer fewer roles.`
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((name, parameters, advice)) = self.row() else {
            return f.write_str(if self.reason.is_empty() {
                "the contract refuses, and gives no reason"
            } else {
                &self.reason
            });
        };
        let values = values(parameters, self.data.get(4..).unwrap_or_default());
        write!(f, "{name}")?;
        if !values.is_empty() {
            write!(f, " ({})", values.join(", "))?;
        }
        write!(f, ": {advice}")
    }
}

/// `BondTooLow(uint256,uint256)`.
fn signature((name, parameters, _): &Row) -> String {
    let types: Vec<&str> = parameters.split(", ").map(|p| p.split(' ').next().unwrap_or_default()).collect();
    format!("{name}({})", types.join(","))
}

/// The names with their values, as far as the data has them.
fn values(parameters: &str, data: &[u8]) -> Vec<String> {
    let words = data.chunks_exact(32).map(B256::from_slice);
    let shown = |(parameter, word): (&str, B256)| {
        let (kind, name) = parameter.split_once(' ')?;
        let value = match kind {
            "bytes32" => word.to_string(),
            "address" => Address::from_word(word).to_string(),
            "string" => format!("'{}'", text(word, data)?),
            _ => U256::from_be_bytes(word.0).to_string(),
        };
        Some(format!("{name} {value}"))
    };
    parameters.split(", ").zip(words).filter_map(shown).collect()
}

/// A string whose place `word` gives; what could drive a terminal is escaped.
fn text(word: B256, data: &[u8]) -> Option<String> {
    let at = usize::try_from(U256::from_be_bytes(word.0)).ok()?;
    let (length, rest) = data.get(at..)?.split_at_checked(32)?;
    let length = usize::try_from(U256::from_be_slice(length)).ok()?;
    let text = String::from_utf8_lossy(rest.get(..length.min(TEXT_BYTES_MAX))?);
    Some(text.escape_default().to_string())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path};

    use serde_json::Value;

    use super::*;
    use crate::{Models, Stake};

    fn refusal(error: &impl SolError) -> Refusal {
        Refusal::new(error.abi_encode().into(), "execution reverted".into())
    }

    #[test]
    fn refusals_have_names_numbers_and_advice() {
        let low = Stake::BondTooLow { required: U256::from(1000), bonded: U256::from(1) };
        let shown = refusal(&low);
        assert_eq!(
            shown.to_string(),
            "BondTooLow (required 1000, bonded 1): The bond is too low for the roles. Bond more, or offer fewer roles."
        );
        assert_eq!(shown.name(), Some("BondTooLow"));
        assert_eq!(shown.decode::<Stake::BondTooLow>().unwrap().required, U256::from(1000));
        assert!(shown.decode::<Stake::ZeroAmount>().is_none());
        assert_eq!(refusal(&Stake::ZeroAmount {}).to_string(), "ZeroAmount: Give an amount above zero.");
        let name = "a\u{1b}[2J".to_owned();
        let unknown = refusal(&Models::UnknownName { name });
        assert_eq!(
            unknown.to_string(),
            "UnknownName (name 'a\\u{1b}[2J'): Nobody has published under this name."
        );
    }

    /// What is none of our errors is shown as the node says it, and what is cut short does not panic.
    #[test]
    fn other_data_is_no_trouble() {
        let other = Refusal::new(Bytes::from_static(&[1, 2, 3, 4]), "execution reverted: no".into());
        assert_eq!((other.to_string().as_str(), other.name()), ("execution reverted: no", None));
        assert_eq!(
            Refusal::new(Bytes::new(), String::new()).to_string(),
            "the contract refuses, and gives no reason"
        );
        let whole = Models::UnknownVersion { name: "n".into(), version: "v".into() }.abi_encode();
        for end in 4..whole.len() {
            let cut = Refusal::new(whole[..end].to_vec().into(), String::new());
            assert!(cut.to_string().ends_with("`versionPage` lists those that it has."), "{cut}");
        }
        let mut far = whole;
        far[4..36].fill(0xff);
        assert!(
            Refusal::new(far.into(), String::new()).to_string().starts_with("UnknownVersion (version 'v')")
        );
    }

    /// The table is what the compiled contracts and their sources say.
    #[test]
    fn the_table_is_the_contracts() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts");
        let mut compiled = BTreeMap::new();
        for contract in ["Stake", "Parameters", "Models", "Receipts", "Randomness"] {
            let text = fs::read_to_string(root.join(format!("artifacts/{contract}.json"))).unwrap();
            let artifact: Value = serde_json::from_str(&text).unwrap();
            for entry in artifact["abi"].as_array().unwrap().iter().filter(|e| e["type"] == "error") {
                let inputs = entry["inputs"].as_array().unwrap().iter();
                let inputs: Vec<String> = inputs
                    .map(|i| format!("{} {}", i["type"].as_str().unwrap(), i["name"].as_str().unwrap()))
                    .collect();
                compiled.insert(entry["name"].as_str().unwrap().to_owned(), inputs.join(", "));
            }
        }
        let table = TABLE.iter().map(|(name, parameters, _)| ((*name).to_owned(), (*parameters).to_owned()));
        assert_eq!(table.collect::<BTreeMap<_, _>>(), compiled);

        let mut sources = String::new();
        for folder in ["src", "src/interfaces"] {
            for entry in fs::read_dir(root.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|e| e == "sol") {
                    sources += &fs::read_to_string(path).unwrap();
                }
            }
        }
        let sources = sources.split_whitespace().filter(|word| *word != "///").collect::<Vec<_>>().join(" ");
        for (name, _, advice) in TABLE {
            assert!(sources.contains(&format!("@notice {advice}")), "{name}: {advice}");
        }
    }
}
