//! Which instructions a kernel may use.

use std::{fmt, str::FromStr};

use crate::IsaError;

/// An instruction set that this processor has. The non-scalar variants hold the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Portable Rust.
    Scalar,
    /// 256-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// 512-bit vectors with byte dot products (VNNI).
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

/// Proof that the processor has AVX2.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx2(());

/// Proof that the processor has AVX-512 F, BW, DQ, VL and VNNI.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx512(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    /// The proof, if the processor has the feature.
    #[must_use]
    pub fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    /// The proof, if the processor has the features.
    #[must_use]
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        has.then_some(Self(()))
    }
}

impl Isa {
    /// The fastest instruction set of this processor.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().pop().unwrap_or(Self::Scalar)
    }

    /// All instruction sets of this processor, slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let wide = [Avx2::detect().map(Self::Avx2), Avx512::detect().map(Self::Avx512)];
        #[cfg(not(target_arch = "x86_64"))]
        let wide: [Option<Self>; 0] = [];
        std::iter::once(Self::Scalar).chain(wide.into_iter().flatten()).collect()
    }

    /// Name, as [`FromStr`] reads it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = IsaError;

    fn from_str(name: &str) -> Result<Self, IsaError> {
        let known = ["scalar", "avx2", "avx512"].into_iter().find(|known| *known == name);
        let name = known.ok_or_else(|| IsaError::Unknown { name: name.to_owned() })?;
        Self::available().into_iter().find(|isa| isa.name() == name).ok_or(IsaError::Unavailable { name })
    }
}

/// Defines a function that takes an [`Isa`] first and whose body, portable Rust, is compiled for each of them.
///
/// The body must reach its loops through functions that are always inlined, not through closures: what is not inlined
/// is compiled without the instruction set.
macro_rules! vectorized {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident<$($generic:ident: $bound:path),*>($($arg:ident: $ty:ty),* $(,)?) $body:block
    ) => {
        $(#[$meta])*
        $vis fn $name<$($generic: $bound),*>(isa: $crate::Isa, $($arg: $ty),*) {
            #[inline(always)]
            fn scalar<$($generic: $bound),*>($($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2<$($generic: $bound),*>($($arg: $ty),*) {
                scalar($($arg),*);
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
            fn avx512<$($generic: $bound),*>($($arg: $ty),*) {
                scalar($($arg),*);
            }

            match isa {
                $crate::Isa::Scalar => scalar($($arg),*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the value proves that the processor has AVX2.
                $crate::Isa::Avx2(_) => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the value proves that the processor has these features.
                $crate::Isa::Avx512(_) => unsafe { avx512($($arg),*) },
            }
        }
    };
}

pub(crate) use vectorized;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for isa in Isa::available() {
            assert_eq!(isa.to_string().parse(), Ok(isa));
        }
    }

    #[test]
    fn refusals_name_the_request() {
        let unknown = Isa::from_str("sse9").unwrap_err();
        assert_eq!(unknown.to_string(), "unknown instruction set \"sse9\": expected scalar, avx2 or avx512");
        let missing = IsaError::Unavailable { name: "avx512" };
        assert_eq!(missing.to_string(), "this processor has no avx512");
    }
}
