//! The head of an `.npy` file: `\x93NUMPY`, version, header length, and a Python dictionary literal with exactly the
//! keys `descr`, `fortran_order` and `shape`, in any order.

use std::io::Read;

use super::NpzError;

const MAGIC: [u8; 6] = *b"\x93NUMPY";
/// Longest header in bytes. NumPy itself refuses headers beyond 10,000.
const HEADER_BYTES_MAX: usize = 10_000;
/// Most axes.
const AXES_MAX: usize = 16;

/// Element types that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F64,
    I32,
    I64,
}

impl Element {
    fn from_descr(descr: &str) -> Option<Self> {
        Some(match descr {
            "<f4" => Self::F32,
            "<f8" => Self::F64,
            "<i4" => Self::I32,
            "<i8" => Self::I64,
            _ => return None,
        })
    }

    /// Size in bytes.
    pub(super) fn size(self) -> u64 {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

/// What the header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) element: Element,
    /// First index fastest, instead of the last.
    pub(super) fortran: bool,
    pub(super) shape: Vec<usize>,
}

/// Reads up to the first value.
pub(super) fn read(name: &str, reader: &mut impl Read) -> Result<Header, NpzError> {
    let refuse = |reason| NpzError::Header { name: name.to_owned(), reason };
    let mut start = [0; 8];
    fill(reader, &mut start)?.ok_or_else(|| refuse("it is shorter than 10 bytes"))?;
    let [magic @ .., major, minor] = start;
    if magic != MAGIC {
        return Err(refuse("it does not begin with \\x93NUMPY"));
    }
    let length = match (major, minor) {
        (1, 0) => {
            let mut bytes = [0; 2];
            fill(reader, &mut bytes)?.map(|()| usize::from(u16::from_le_bytes(bytes)))
        }
        (2 | 3, 0) => {
            let mut bytes = [0; 4];
            fill(reader, &mut bytes)?
                .map(|()| usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX))
        }
        _ => return Err(NpzError::Version { name: name.to_owned(), major, minor }),
    };
    let length = length.ok_or_else(|| refuse("it ends inside its length"))?;
    if length > HEADER_BYTES_MAX {
        return Err(refuse("it is longer than 10000 bytes"));
    }
    let mut text = vec![0; length];
    fill(reader, &mut text)?.ok_or_else(|| refuse("it ends early"))?;
    parse(name, &text)
}

/// Fills `buffer`; `None` if the bytes end early.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> Result<Option<()>, NpzError> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(NpzError::reading(error)),
    }
}

fn parse(name: &str, text: &[u8]) -> Result<Header, NpzError> {
    let refuse = |reason| NpzError::Header { name: name.to_owned(), reason };
    let mut cursor = Cursor { rest: text };
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    cursor.eat(b"{").ok_or_else(|| refuse("it is not a dictionary"))?;
    while cursor.eat(b"}").is_none() {
        let key = cursor.string().ok_or_else(|| refuse("a key is not a string"))?;
        cursor.eat(b":").ok_or_else(|| refuse("a key has no value"))?;
        let new = match key {
            b"descr" => descr.replace(cursor.descr().ok_or_else(|| refuse("descr is no type"))?).is_none(),
            b"fortran_order" => {
                fortran.replace(cursor.boolean().ok_or_else(|| refuse("fortran_order is no bool"))?).is_none()
            }
            b"shape" => {
                shape.replace(cursor.tuple().ok_or_else(|| refuse("shape is no tuple of sizes"))?).is_none()
            }
            _ => return Err(refuse("it has an unknown key")),
        };
        if !new {
            return Err(refuse("it has a key twice"));
        }
        if cursor.eat(b",").is_none() {
            cursor.eat(b"}").ok_or_else(|| refuse("its dictionary does not end"))?;
            break;
        }
    }
    if !cursor.rest.trim_ascii().is_empty() {
        return Err(refuse("text follows its dictionary"));
    }
    let (Some(descr), Some(fortran), Some(shape)) = (descr, fortran, shape) else {
        return Err(refuse("it lacks descr, fortran_order or shape"));
    };
    let descr = String::from_utf8_lossy(descr).into_owned();
    let element =
        Element::from_descr(&descr).ok_or_else(|| NpzError::Type { name: name.to_owned(), descr })?;
    Ok(Header { element, fortran, shape })
}

/// Reads the few Python literals that a header may hold.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn eat(&mut self, token: &[u8]) -> Option<()> {
        self.rest = self.rest.trim_ascii_start().strip_prefix(token)?;
        Some(())
    }

    fn until(&mut self, end: impl Fn(u8) -> bool) -> Option<&'a [u8]> {
        let length = self.rest.iter().position(|&b| end(b))?;
        let (head, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(head)
    }

    /// A string without escapes.
    fn string(&mut self) -> Option<&'a [u8]> {
        let quote = [b"'", b"\""].into_iter().find(|q| self.eat(*q).is_some())?;
        let text = self.until(|b| b == quote[0] || b == b'\\')?;
        self.eat(quote)?;
        Some(text)
    }

    /// A type string, or the list of a structured type, of which only the beginning is kept: it is refused anyway.
    fn descr(&mut self) -> Option<&'a [u8]> {
        if self.eat(b"[").is_none() {
            return self.string();
        }
        let list = self.until(|b| b == b']')?;
        self.eat(b"]")?;
        Some(list)
    }

    fn boolean(&mut self) -> Option<bool> {
        if self.eat(b"True").is_some() {
            return Some(true);
        }
        self.eat(b"False").map(|()| false)
    }

    fn size(&mut self) -> Option<usize> {
        self.rest = self.rest.trim_ascii_start();
        let digits = self.until(|b| !b.is_ascii_digit())?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        self.eat(b"(")?;
        let mut sizes = Vec::new();
        while self.eat(b")").is_none() {
            sizes.push(self.size()?);
            if sizes.len() > AXES_MAX {
                return None;
            }
            if self.eat(b",").is_none() {
                self.eat(b")")?;
                break;
            }
        }
        Some(sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        parse("x", text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn headers_as_numpy_writes_them() {
        let cases: [(&str, Header); 4] = [
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n",
                Header { element: Element::F32, fortran: false, shape: vec![2, 3] },
            ),
            (
                "{'shape': (3,), 'descr': '<f8', 'fortran_order': True}",
                Header { element: Element::F64, fortran: true, shape: vec![3] },
            ),
            (
                "{\"descr\":\"<i4\",\"fortran_order\":False,\"shape\":()}",
                Header { element: Element::I32, fortran: false, shape: vec![] },
            ),
            (
                "{'descr': '<i8', 'fortran_order': False, 'shape': (0, 7)}",
                Header { element: Element::I64, fortran: false, shape: vec![0, 7] },
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse("x", text.as_bytes()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn other_headers_are_refused() {
        let cases = [
            ("", "it is not a dictionary"),
            ("{descr: 1}", "a key is not a string"),
            ("{'descr' '<f4'}", "a key has no value"),
            ("{'descr': 7}", "descr is no type"),
            ("{'fortran_order': 0}", "fortran_order is no bool"),
            ("{'shape': (-1,)}", "shape is no tuple of sizes"),
            ("{'shape': (99999999999999999999999,)}", "shape is no tuple of sizes"),
            ("{'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)}", "shape is no tuple of sizes"),
            ("{'shape': (1, 2", "shape is no tuple of sizes"),
            ("{'other': 1}", "it has an unknown key"),
            ("{'shape': (1,), 'shape': (1,)}", "it has a key twice"),
            ("{'shape': (1,) 'descr'", "its dictionary does not end"),
            ("{'shape': (1,)} x", "text follows its dictionary"),
            ("{'shape': (1,)}", "it lacks descr, fortran_order or shape"),
        ];
        for (text, expected) in cases {
            assert_eq!(reason(text), format!("tensor 'x': the header is invalid: {expected}"), "{text}");
        }
    }

    #[test]
    fn other_types_are_refused_by_name() {
        for descr in ["'>f4'", "'|u1'", "'<f2'", "'|b1'", "'|O'", "'<U3'", "[('a', '<f4')]"] {
            let text = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (1,)}}");
            let refusal = parse("x", text.as_bytes()).unwrap_err();
            assert_eq!(refusal.code(), "npz_type", "{descr}: {refusal}");
        }
    }
}
