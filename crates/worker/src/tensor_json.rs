//! The values of `data` (specification, section 1). The text is JSON already: the parser of the request has seen it.

use veracity_graph::{ArrayData, Elem};

use crate::RequestError;

/// An input whose `data` is being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonTensor<'a> {
    pub(crate) name: &'a str,
    pub(crate) elem: Elem,
    pub(crate) shape: &'a [usize],
    /// Product of the shape.
    pub(crate) count: u64,
    /// The JSON value.
    pub(crate) text: &'a str,
}

impl JsonTensor<'_> {
    pub(crate) fn read(&self) -> Result<ArrayData, RequestError> {
        match self.elem {
            Elem::F32 => self.values(|n, text| self.float(n, text)).map(ArrayData::F32),
            Elem::I32 => self.values(|n, text| self.integer(n, text)).map(ArrayData::I32),
            Elem::I64 => self.values(|n, text| self.integer(n, text)).map(ArrayData::I64),
        }
    }

    fn values<T>(
        &self,
        parse: impl FnMut(usize, &str) -> Result<T, RequestError>,
    ) -> Result<Vec<T>, RequestError> {
        let bytes = self.text.as_bytes();
        let mut second = bytes.iter().filter(|b| !is_space(**b)).skip(1);
        let nested = second.next() == Some(&b'[');
        let mut walk = Walk { tensor: self, at: 0, nested, values: Vec::new(), parse };
        walk.array(0)?;
        let found = walk.values.len();
        if found as u64 != self.count {
            return Err(self.count_error(format!("{found}")));
        }
        Ok(walk.values)
    }

    fn float(&self, position: usize, text: &str) -> Result<f32, RequestError> {
        // Rust's parser rounds once, to nearest, ties to even, whatever the number of digits.
        match text.parse::<f32>() {
            Ok(x) if x.is_finite() => Ok(x),
            Ok(_) => Err(self.range_error(position, text)),
            Err(_) => Err(self.type_error(position, text, "a number")),
        }
    }

    fn integer<T: std::str::FromStr>(&self, position: usize, text: &str) -> Result<T, RequestError> {
        if text.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) {
            return Err(self.type_error(position, text, "an integer without fraction or exponent"));
        }
        text.parse().map_err(|_| self.range_error(position, text))
    }

    fn type_error(&self, position: usize, found: &str, expected: &'static str) -> RequestError {
        RequestError::DataType { name: self.name.to_owned(), position, expected, found: cut(found) }
    }

    fn range_error(&self, position: usize, found: &str) -> RequestError {
        RequestError::NumberRange { name: self.name.to_owned(), position, found: cut(found), elem: self.elem }
    }

    fn count_error(&self, found: String) -> RequestError {
        RequestError::DataCount { name: self.name.to_owned(), expected: self.count, found }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

struct Walk<'a, T, P> {
    tensor: &'a JsonTensor<'a>,
    at: usize,
    nested: bool,
    values: Vec<T>,
    parse: P,
}

impl<'a, T, P: FnMut(usize, &str) -> Result<T, RequestError>> Walk<'a, T, P> {
    /// The next byte that is no space. The text is whole JSON, so there is one where this is called.
    fn peek(&mut self) -> u8 {
        let rest = &self.tensor.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|b| is_space(**b)).count();
        self.tensor.text.as_bytes().get(self.at).copied().unwrap_or(b']')
    }

    /// Reads one array; its depth is at most the rank, so hostile nesting does not deepen the stack.
    fn array(&mut self, level: usize) -> Result<(), RequestError> {
        if self.peek() != b'[' {
            return Err(self.tensor.type_error(0, self.token(), "an array"));
        }
        let start = self.at;
        self.at += 1;
        let mut n = 0;
        while self.peek() != b']' {
            if n > 0 {
                self.at += 1; // the comma
            }
            self.element(level)?;
            n += 1;
        }
        self.at += 1;
        if self.nested && self.tensor.shape.get(level) != Some(&n) {
            return Err(self.nesting_error(start));
        }
        Ok(())
    }

    fn element(&mut self, level: usize) -> Result<(), RequestError> {
        let leaf = !self.nested || level + 1 == self.tensor.shape.len();
        match self.peek() {
            b'[' if leaf => Err(self.nesting_error(self.at)),
            b'[' => self.array(level + 1),
            b'-' | b'0'..=b'9' if !leaf => Err(self.nesting_error(self.at)),
            b'-' | b'0'..=b'9' if self.values.len() as u64 == self.tensor.count => {
                Err(self.tensor.count_error(format!("more than {}", self.tensor.count)))
            }
            b'-' | b'0'..=b'9' => {
                let token = self.token();
                self.at += token.len();
                let value = (self.parse)(self.values.len(), token)?;
                self.values.push(value);
                Ok(())
            }
            _ => Err(self.tensor.type_error(self.values.len(), self.token(), "a number")),
        }
    }

    /// The text up to the next delimiter.
    fn token(&self) -> &'a str {
        let rest = &self.tensor.text[self.at..];
        let end = rest.bytes().position(|b| is_space(b) || matches!(b, b',' | b']'));
        &rest[..end.unwrap_or(rest.len())]
    }

    fn nesting_error(&self, position: usize) -> RequestError {
        RequestError::DataNesting { name: self.tensor.name.to_owned(), position }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(elem: Elem, shape: &[usize], text: &str) -> Result<ArrayData, String> {
        let count = shape.iter().product::<usize>() as u64;
        JsonTensor { name: "x", elem, shape, count, text }.read().map_err(|e| e.refusal().code.to_owned())
    }

    #[test]
    fn flat_and_nested_data_are_read() {
        let expected = ArrayData::I32(vec![1, -2, 3, 4, 5, 6]);
        for text in
            ["[1,-2,3,4,5,6]", "[[1,-2,3],[4,5,6]]", " [ [1 , -2,\n3 ],[\t4,5,6] ] ", "[ 1,-2,3,4,5,6 ]"]
        {
            assert_eq!(read(Elem::I32, &[2, 3], text), Ok(expected.clone()), "{text}");
        }
        assert_eq!(
            read(Elem::I64, &[1, 1, 1], "[[[9223372036854775807]]]"),
            Ok(ArrayData::I64(vec![i64::MAX]))
        );
        assert_eq!(read(Elem::I64, &[0], "[]"), Ok(ArrayData::I64(vec![])));
        assert_eq!(read(Elem::I64, &[2, 0], "[[],[]]"), Ok(ArrayData::I64(vec![])));
        assert_eq!(read(Elem::I32, &[1], "[-0]"), Ok(ArrayData::I32(vec![0])));
    }

    #[test]
    fn decimals_are_rounded_once() {
        // Halfway between two floats but for a digit that binary64 cannot hold: rounding twice would go down.
        let text = "[1.00000005960464477539062500000001]";
        assert_eq!(read(Elem::F32, &[1], text), Ok(ArrayData::F32(vec![1.000_000_1])));
        assert_eq!(read(Elem::F32, &[3], "[1,1e0,-0]"), Ok(ArrayData::F32(vec![1.0, 1.0, -0.0])));
    }

    #[test]
    fn other_data_are_refused() {
        let cases: &[(Elem, &[usize], &str, &str)] = &[
            (Elem::F32, &[2], "[1]", "data_count"),
            (Elem::F32, &[2], "[1,2,3]", "data_count"),
            (Elem::F32, &[1], "1", "data_type"),
            (Elem::F32, &[1], "{}", "data_type"),
            (Elem::F32, &[1], "\"1\"", "data_type"),
            (Elem::F32, &[1], "[\"1\"]", "data_type"),
            (Elem::F32, &[1], "[true]", "data_type"),
            (Elem::F32, &[1], "[null]", "data_type"),
            (Elem::F32, &[1], "[{\"a\":1}]", "data_type"),
            (Elem::F32, &[1], "[1e39]", "number_range"),
            (Elem::I32, &[1], "[2147483648]", "number_range"),
            (Elem::I32, &[1], "[1.0]", "data_type"),
            (Elem::I64, &[1], "[1e0]", "data_type"),
            (Elem::I64, &[1], "[9223372036854775808]", "number_range"),
            (Elem::I32, &[2, 2], "[[1,2],[3]]", "data_nesting"),
            (Elem::I32, &[2, 2], "[[1,2,3],[4]]", "data_nesting"),
            (Elem::I32, &[2, 2], "[[1,2],3,4]", "data_nesting"),
            (Elem::I32, &[2, 2], "[1,[2],3,4]", "data_nesting"),
            (Elem::I32, &[2, 2], "[[[1,2]],[[3,4]]]", "data_nesting"),
            (Elem::I32, &[2, 2], "[[1,2]]", "data_nesting"),
            (Elem::I32, &[4], "[[1,2,3,4]]", "data_nesting"),
            (Elem::I32, &[0], "[[]]", "data_nesting"),
        ];
        for (elem, shape, text, code) in cases {
            assert_eq!(read(*elem, shape, text), Err((*code).to_owned()), "{text}");
        }
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert_eq!(read(Elem::I32, &[1, 1], &deep), Err("data_nesting".to_owned()));
    }
}
