//! A product and a third number in one operation.

/// A fused multiply-add, which is rounded once where the machine can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fma {
    /// a b + c.
    MulAdd,
    /// a b − c.
    MulSub,
    /// c − a b.
    SubMul,
}

impl Fma {
    /// The name of the operation.
    pub fn name(self) -> &'static str {
        match self {
            Fma::MulAdd => "mul_add",
            Fma::MulSub => "mul_sub",
            Fma::SubMul => "sub_mul",
        }
    }

    /// The exact value.
    pub(crate) fn reference(self, a: f64, b: f64, c: f64) -> f64 {
        match self {
            Fma::MulAdd => a.mul_add(b, c),
            Fma::MulSub => a.mul_add(b, -c),
            Fma::SubMul => (-a).mul_add(b, c),
        }
    }
}
