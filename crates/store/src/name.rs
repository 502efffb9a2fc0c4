use std::{fmt, str::FromStr};

use crate::NameError;

/// Fewest hex digits that a reference may abbreviate an id to.
pub(crate) const ID_PREFIX_DIGITS_MIN: usize = 8;

/// A name for a model: one segment of a URL, one file in the store.
///
/// ```
/// use veracity_store::Name;
/// assert_eq!("digits-cnn.v2".parse::<Name>().unwrap().as_str(), "digits-cnn.v2");
/// assert!("../key".parse::<Name>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Longest name in bytes.
    pub const BYTES_MAX: usize = 128;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` is how an id may be abbreviated.
pub(crate) fn is_id_prefix(text: &str) -> bool {
    (ID_PREFIX_DIGITS_MIN..=64).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > Self::BYTES_MAX {
            return Err(NameError::Length { max: Self::BYTES_MAX, found: text.len() });
        }
        let allowed = |(position, b): (usize, u8)| match b {
            b'a'..=b'z' | b'0'..=b'9' => true,
            b'.' | b'_' | b'-' => position > 0,
            _ => false,
        };
        if let Some(position) = text.bytes().enumerate().position(|item| !allowed(item)) {
            return Err(NameError::Character { text: text.to_owned(), position });
        }
        if is_id_prefix(text) {
            return Err(NameError::LooksLikeId { text: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_file_and_one_url_segment() {
        for good in ["a", "0", "digits", "resnet-18.v2_b", "cafe", "abc1234", &"x".repeat(128)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        let refusal = |text: &str| text.parse::<Name>().unwrap_err().to_string();
        assert_eq!(refusal(""), "a model name has 1 to 128 characters, this one has 0");
        assert_eq!(refusal(&"x".repeat(129)), "a model name has 1 to 128 characters, this one has 129");
        for (bad, position) in
            [("..", 0), (".a", 0), ("-a", 0), ("a/b", 1), ("A", 0), ("a b", 1), ("a\0", 1), ("é", 0)]
        {
            assert_eq!(bad.parse::<Name>(), Err(NameError::Character { text: bad.to_owned(), position }));
        }
        assert_eq!(
            refusal("a/b"),
            "a model name has the characters a-z 0-9 . _ - and begins with a letter or digit; character 1 of \"a/b\" is another"
        );
        assert_eq!(
            refusal("deadbeef"),
            "'deadbeef' could be read as a model id; add a character that is not a hex digit"
        );
    }
}
