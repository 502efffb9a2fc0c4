//! A list of byte strings of which one can be read without the others.
//!
//! Layout: the number of strings, then where each ends, then the strings; numbers are 4 bytes, big-endian, and ends count
//! from the first string.

/// Bytes of a number.
const NUMBER: usize = 4;

pub(crate) fn encode(items: &[Vec<u8>]) -> Vec<u8> {
    let data: usize = items.iter().map(Vec::len).sum();
    let mut bytes = Vec::with_capacity(NUMBER * (items.len() + 1) + data);
    let number = |n: usize| u32::try_from(n).expect("a block is far smaller than 4 GiB").to_be_bytes();
    bytes.extend(number(items.len()));
    let mut end = 0;
    for item in items {
        end += item.len();
        bytes.extend(number(end));
    }
    items.iter().for_each(|item| bytes.extend(item));
    bytes
}

/// Encoded records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Records<'a> {
    ends: &'a [u8],
    data: &'a [u8],
}

impl<'a> Records<'a> {
    /// `None` if `bytes` are too short for their number of records.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (count, rest) = bytes.split_at_checked(NUMBER)?;
        let (ends, data) = rest.split_at_checked(number(count)?.checked_mul(NUMBER)?)?;
        Some(Self { ends, data })
    }

    pub(crate) const fn len(self) -> usize {
        self.ends.len() / NUMBER
    }

    /// `None` if there is none, or its place is impossible.
    pub(crate) fn get(self, index: usize) -> Option<&'a [u8]> {
        let start = match index.checked_sub(1) {
            Some(before) => self.end(before)?,
            None => 0,
        };
        self.data.get(start..self.end(index)?)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Option<&'a [u8]>> {
        (0..self.len()).map(move |index| self.get(index))
    }

    fn end(self, index: usize) -> Option<usize> {
        let at = index.checked_mul(NUMBER)?;
        number(self.ends.get(at..at.checked_add(NUMBER)?)?)
    }
}

fn number(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_is_read_alone() {
        let items = [b"".to_vec(), b"one".to_vec(), b"".to_vec(), vec![7; 300]];
        let bytes = encode(&items);
        let records = Records::new(&bytes).unwrap();
        assert_eq!(records.len(), 4);
        for (index, item) in items.iter().enumerate() {
            assert_eq!(records.get(index), Some(&item[..]));
        }
        assert_eq!(records.get(4), None);
        assert_eq!(records.get(usize::MAX), None);
    }

    #[test]
    fn damaged_records_are_refused_and_never_panic() {
        let bytes = encode(&[b"one".to_vec(), b"two".to_vec()]);
        for length in 0..bytes.len() {
            let read = Records::new(&bytes[..length]).map(|records| records.iter().collect::<Vec<_>>());
            assert!(read.is_none_or(|records| records.contains(&None)), "{length}");
        }
        for at in 0..12 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            if let Some(records) = Records::new(&damaged) {
                records.iter().take(10).for_each(drop);
            }
        }
    }
}
