//! Functions of one variable, computed in `f64` by the `libm` crate's portable code: IEEE additions, multiplications,
//! divisions and square roots in a fixed order, so tables are the same on every machine.

/// A function of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Func {
    Clip(f64, f64),
    LeakyRelu(f64),
    Elu(f64),
    Selu(f64, f64),
    Celu(f64),
    Sigmoid,
    Tanh,
    HardSigmoid(f64, f64),
    HardSwish,
    GeluErf,
    GeluTanh,
    Silu,
    /// `x * sigmoid(alpha * x)`.
    Swish(f64),
    Mish,
    Softplus,
    Softsign,
    Erf,
    Abs,
    ThresholdedRelu(f64),
    Exp,
    Log,
    Sqrt,
    Reciprocal,
    /// A power other than 1 and 2.
    Power(f64),
}

/// Where a function is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Domain {
    All,
    NotNegative,
    Positive,
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

impl Func {
    pub(crate) fn eval(self, x: f64) -> f64 {
        match self {
            Self::Clip(lo, hi) => x.max(lo).min(hi),
            Self::LeakyRelu(a) => {
                if x < 0.0 {
                    a * x
                } else {
                    x
                }
            }
            Self::Elu(a) => {
                if x < 0.0 {
                    a * libm::expm1(x)
                } else {
                    x
                }
            }
            Self::Selu(a, g) => g * if x < 0.0 { a * libm::expm1(x) } else { x },
            Self::Celu(a) => {
                if x < 0.0 {
                    a * libm::expm1(x / a)
                } else {
                    x
                }
            }
            Self::Sigmoid => sigmoid(x),
            Self::Tanh => libm::tanh(x),
            Self::HardSigmoid(a, b) => (a * x + b).clamp(0.0, 1.0),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::GeluErf => 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2)),
            Self::GeluTanh => {
                let inner = 0.797_884_560_802_865_4 * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + libm::tanh(inner))
            }
            Self::Silu => x * sigmoid(x),
            Self::Swish(a) => x * sigmoid(a * x),
            Self::Mish => x * libm::tanh(softplus(x)),
            Self::Softplus => softplus(x),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Erf => libm::erf(x),
            Self::Abs => x.abs(),
            Self::ThresholdedRelu(a) => {
                if x > a {
                    x
                } else {
                    0.0
                }
            }
            Self::Exp => libm::exp(x),
            Self::Log => libm::log(x),
            Self::Sqrt => x.sqrt(),
            Self::Reciprocal => 1.0 / x,
            Self::Power(p) => libm::pow(x, p),
        }
    }

    pub(crate) fn domain(self) -> Domain {
        match self {
            Self::Log | Self::Reciprocal => Domain::Positive,
            Self::Power(p) if p < 0.0 => Domain::Positive,
            Self::Power(p) if p.fract() != 0.0 => Domain::NotNegative,
            Self::Sqrt => Domain::NotNegative,
            _ => Domain::All,
        }
    }

    /// Whether no two lines leave a bounded rest: small operands need finer steps than large ones, or the reverse.
    pub(crate) fn is_curved(self) -> bool {
        matches!(self, Self::Exp | Self::Log | Self::Sqrt | Self::Reciprocal | Self::Power(_))
    }

    /// Slopes towards plus and minus infinity. What is left of the function after both lines through zero is bounded,
    /// unless it [is curved](Self::is_curved).
    pub(crate) fn slopes(self) -> (f64, f64) {
        match self {
            Self::Sigmoid | Self::Tanh | Self::HardSigmoid(..) | Self::Softsign | Self::Erf => (0.0, 0.0),
            Self::LeakyRelu(a) => (1.0, a),
            Self::Selu(_, g) => (g, 0.0),
            Self::Abs => (1.0, -1.0),
            Self::Swish(a) if a < 0.0 => (0.0, 1.0),
            Self::Swish(0.0) => (0.5, 0.5),
            Self::Exp | Self::Log | Self::Sqrt | Self::Reciprocal | Self::Power(_) => (0.0, 0.0),
            Self::Clip(lo, hi) => {
                (f64::from(u8::from(hi.is_infinite())), f64::from(u8::from(lo.is_infinite())))
            }
            Self::Elu(_)
            | Self::Celu(_)
            | Self::HardSwish
            | Self::GeluErf
            | Self::GeluTanh
            | Self::Silu
            | Self::Swish(_)
            | Self::Mish
            | Self::Softplus
            | Self::ThresholdedRelu(_) => (1.0, 0.0),
        }
    }

    /// The function less its two lines.
    pub(crate) fn remainder(self, x: f64) -> f64 {
        let (up, down) = self.slopes();
        self.eval(x) - up * x.max(0.0) - down * x.min(0.0)
    }

    /// Whether both lines are all of it.
    pub(crate) fn is_piecewise(self) -> bool {
        matches!(self, Self::LeakyRelu(_) | Self::Abs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_are_bounded_on_both_sides() {
        let funcs = [
            Func::LeakyRelu(0.1),
            Func::Elu(1.0),
            Func::Selu(1.673, 1.0507),
            Func::Celu(2.0),
            Func::Sigmoid,
            Func::Tanh,
            Func::HardSigmoid(0.2, 0.5),
            Func::HardSwish,
            Func::GeluErf,
            Func::GeluTanh,
            Func::Silu,
            Func::Swish(1.702),
            Func::Swish(-0.5),
            Func::Swish(0.0),
            Func::Mish,
            Func::Softplus,
            Func::Softsign,
            Func::Erf,
            Func::Abs,
        ];
        for func in funcs {
            for x in [-1e4, -16.0, 16.0, 1e4] {
                assert!(func.remainder(x).abs() < 2.5, "{func:?} at {x}: {}", func.remainder(x));
            }
        }
    }
}
