use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

/// A `T` that is written as a JSON object. A struct that only derives `Deserialize` also takes an array of its fields
/// in their order, so one request would have two meanings: what this program reads and what the protocol says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        a: u8,
        b: Option<u8>,
    }

    #[test]
    fn objects_and_nothing_else() {
        let read = |json: &str| serde_json::from_str::<Object<Pair>>(json);
        assert_eq!(read(r#"{"b":2,"a":1}"#).unwrap(), Object(Pair { a: 1, b: Some(2) }));
        for (json, refusal) in [
            ("[1,2]", "invalid type: sequence, expected an object at line 1 column 0"),
            ("[]", "invalid type: sequence, expected an object at line 1 column 0"),
            ("null", "invalid type: null, expected an object at line 1 column 4"),
            (r#"{"a":1,"a":1}"#, "duplicate field `a` at line 1 column 10"),
            (r#"{"a":1,"c":1}"#, "unknown field `c`, expected `a` or `b` at line 1 column 10"),
        ] {
            assert_eq!(read(json).unwrap_err().to_string(), refusal, "{json}");
        }
    }
}
