//! Canonical bytes: fixed-width little-endian numbers, counts before lists, nothing optional that could be left out or
//! written twice. Hence one value has one encoding.

use veracity_ops::DType;

use crate::{
    ConstantType, DecodeError, Decoding, Dim, Elem, Encoding, Graph, Input, Node, Output, Scale, ValueId,
    op_codec,
};

const MAGIC: &[u8; 4] = b"VGRF";
const VERSION: u8 = 1;
/// Longest name in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 512;

/// Limits that a reader sets for bytes from strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most nodes, constants, operands, inputs or outputs in one list.
    pub list_max: usize,
}

/// Longest list of a valid model.
pub(crate) const LIST_MAX: usize = 1 << 20;

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { list_max: LIST_MAX }
    }
}

/// Writes canonical bytes.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn u8(&mut self, v: u8) {
        self.bytes.push(v);
    }

    pub(crate) fn u32(&mut self, v: u32) {
        self.bytes.extend_from_slice(&v.to_le_bytes());
    }

    pub(crate) fn i32(&mut self, v: i32) {
        self.bytes.extend_from_slice(&v.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, v: u64) {
        self.bytes.extend_from_slice(&v.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, v: i64) {
        self.bytes.extend_from_slice(&v.to_le_bytes());
    }

    /// A size or attribute; models hold none beyond `u32`, which [`Model::new`](crate::Model::new) checks.
    pub(crate) fn size(&mut self, v: usize) {
        self.u32(u32::try_from(v).unwrap_or(u32::MAX));
    }

    pub(crate) fn text(&mut self, v: &str) {
        self.size(v.len());
        self.bytes.extend_from_slice(v.as_bytes());
    }

    pub(crate) fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.size(items.len());
        for item in items {
            write(self, item);
        }
    }
}

/// Reads canonical bytes; every read names what it reads.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
    /// Where the last thing taken begins.
    start: usize,
    limits: DecodeLimits,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], limits: DecodeLimits) -> Self {
        Self { rest: bytes, total: bytes.len(), start: 0, limits }
    }

    pub(crate) fn offset(&self) -> usize {
        self.total.saturating_sub(self.rest.len())
    }

    /// Refuses what was taken last.
    pub(crate) fn invalid(&self, what: &'static str, reason: &'static str) -> DecodeError {
        DecodeError::Invalid { what, offset: self.start, reason }
    }

    pub(crate) fn take(&mut self, what: &'static str, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) =
            self.rest.split_at_checked(count).ok_or(DecodeError::Truncated { what, offset: self.total })?;
        self.start = self.offset();
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let bytes = self.take(what, N)?;
        bytes.try_into().map_err(|_| DecodeError::Truncated { what, offset: self.total })
    }

    pub(crate) fn digest(&mut self, what: &'static str) -> Result<[u8; 32], DecodeError> {
        self.array(what)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(what).map(u8::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self, what: &'static str) -> Result<i32, DecodeError> {
        self.array(what).map(i32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        self.array(what).map(i64::from_le_bytes)
    }

    pub(crate) fn size(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        let v = self.u32(what)?;
        usize::try_from(v).map_err(|_| self.invalid(what, "too large for this machine"))
    }

    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.invalid(what, "a flag is 0 or 1")),
        }
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<String, DecodeError> {
        let len = self.size(what)?;
        if len > NAME_BYTES_MAX {
            return Err(self.invalid(what, "text is longer than 512 bytes"));
        }
        let bytes = self.take(what, len)?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.invalid(what, "text is not UTF-8"))?;
        Ok(text.to_owned())
    }

    pub(crate) fn list<T>(
        &mut self,
        what: &'static str,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.size(what)?;
        if count > self.limits.list_max {
            return Err(self.invalid(what, "the list is longer than allowed"));
        }
        // Capacity follows the items read, never the count claimed.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    pub(crate) fn header(
        &mut self,
        what: &'static str,
        magic: &[u8; 4],
        version: u8,
    ) -> Result<(), DecodeError> {
        if !magic.iter().zip(self.rest).all(|(m, byte)| m == byte) {
            return Err(DecodeError::Magic { what });
        }
        self.take(what, magic.len())?;
        match self.u8(what)? {
            found if found == version => Ok(()),
            found => Err(DecodeError::Version { what, found, supported: version }),
        }
    }

    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing { count: self.rest.len() }) }
    }
}

pub(crate) fn write_dtype(w: &mut Writer, dtype: DType) {
    w.u8(match dtype {
        DType::I8 => 0,
        DType::I16 => 1,
        DType::I32 => 2,
        DType::I64 => 3,
    });
}

pub(crate) fn read_dtype(r: &mut Reader<'_>) -> Result<DType, DecodeError> {
    match r.u8("element type")? {
        0 => Ok(DType::I8),
        1 => Ok(DType::I16),
        2 => Ok(DType::I32),
        3 => Ok(DType::I64),
        _ => Err(r.invalid("element type", "unknown tag")),
    }
}

fn write_elem(w: &mut Writer, elem: Elem) {
    w.u8(match elem {
        Elem::F32 => 0,
        Elem::I32 => 1,
        Elem::I64 => 2,
    });
}

fn read_elem(r: &mut Reader<'_>) -> Result<Elem, DecodeError> {
    match r.u8("request element type")? {
        0 => Ok(Elem::F32),
        1 => Ok(Elem::I32),
        2 => Ok(Elem::I64),
        _ => Err(r.invalid("request element type", "unknown tag")),
    }
}

fn read_scale(r: &mut Reader<'_>) -> Result<Scale, DecodeError> {
    let bits = r.u32("scale")?;
    Scale::new(f32::from_bits(bits)).ok_or_else(|| r.invalid("scale", "not a positive normal number"))
}

fn write_input(w: &mut Writer, input: &Input) {
    w.text(&input.name);
    write_elem(w, input.elem);
    w.list(&input.dims, |w, dim| match dim {
        Dim::Fixed(n) => {
            w.u8(0);
            w.u32(*n);
        }
        Dim::Symbol(i) => {
            w.u8(1);
            w.u32(*i);
        }
    });
    match input.encoding {
        Encoding::Quantise { dtype, inv_scale, zero } => {
            w.u8(0);
            write_dtype(w, dtype);
            w.u32(inv_scale.get().to_bits());
            w.i32(zero);
        }
        Encoding::Integer { lo, hi } => {
            w.u8(1);
            w.i32(lo);
            w.i32(hi);
        }
    }
}

fn read_input(r: &mut Reader<'_>) -> Result<Input, DecodeError> {
    let name = r.text("input name")?;
    let elem = read_elem(r)?;
    let dims = r.list("input extents", |r| match r.u8("extent")? {
        0 => r.u32("extent").map(Dim::Fixed),
        1 => r.u32("extent").map(Dim::Symbol),
        _ => Err(r.invalid("extent", "unknown tag")),
    })?;
    let encoding = match r.u8("encoding")? {
        0 => {
            let dtype = read_dtype(r)?;
            let inv_scale = read_scale(r)?;
            Encoding::Quantise { dtype, inv_scale, zero: r.i32("zero")? }
        }
        1 => Encoding::Integer { lo: r.i32("lo")?, hi: r.i32("hi")? },
        _ => return Err(r.invalid("encoding", "unknown tag")),
    };
    Ok(Input { name, elem, dims, encoding })
}

fn write_output(w: &mut Writer, output: &Output) {
    w.text(&output.name);
    w.u32(output.value.0);
    match output.decoding {
        Decoding::Dequantise { scale, zero } => {
            w.u8(0);
            w.u32(scale.get().to_bits());
            w.i32(zero);
        }
        Decoding::Integer(elem) => {
            w.u8(1);
            write_elem(w, elem);
        }
    }
}

fn read_output(r: &mut Reader<'_>) -> Result<Output, DecodeError> {
    let name = r.text("output name")?;
    let value = ValueId(r.u32("output value")?);
    let decoding = match r.u8("decoding")? {
        0 => {
            let scale = read_scale(r)?;
            Decoding::Dequantise { scale, zero: r.i32("zero")? }
        }
        1 => Decoding::Integer(read_elem(r)?),
        _ => return Err(r.invalid("decoding", "unknown tag")),
    };
    Ok(Output { name, value, decoding })
}

fn read_node(r: &mut Reader<'_>) -> Result<Node, DecodeError> {
    let name = r.text("node name")?;
    let op = op_codec::read(r)?;
    let inputs = r.list("operands", |r| r.u32("operand").map(ValueId))?;
    Ok(Node { name, op, inputs })
}

fn read_constant(r: &mut Reader<'_>) -> Result<ConstantType, DecodeError> {
    let dtype = read_dtype(r)?;
    Ok(ConstantType { dtype, shape: r.list("constant shape", |r| r.u32("extent"))? })
}

impl Graph {
    /// Canonical bytes (`docs/spec/model.md`, section 2).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.bytes.extend_from_slice(MAGIC);
        w.u8(VERSION);
        w.list(&self.symbols, |w, s| w.text(s));
        w.list(&self.inputs, write_input);
        w.list(&self.constants, |w, c| {
            write_dtype(w, c.dtype);
            w.list(&c.shape, |w, d| w.u32(*d));
        });
        w.list(&self.nodes, |w, n| {
            w.text(&n.name);
            op_codec::write(w, &n.op);
            w.list(&n.inputs, |w, v| w.u32(v.0));
        });
        w.list(&self.outputs, write_output);
        w.bytes
    }

    /// The graph whose canonical bytes these are.
    ///
    /// # Errors
    /// A [`DecodeError`] that says where and why the bytes are not canonical.
    pub fn decode(bytes: &[u8], limits: DecodeLimits) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes, limits);
        r.header("graph", MAGIC, VERSION)?;
        let symbols = r.list("symbols", |r| r.text("symbol"))?;
        let inputs = r.list("inputs", read_input)?;
        let constants = r.list("constants", read_constant)?;
        let nodes = r.list("nodes", read_node)?;
        let outputs = r.list("outputs", read_output)?;
        r.end()?;
        Ok(Self { symbols, inputs, constants, nodes, outputs })
    }
}
