//! What reductions do with elements.

/// What a reduction does with the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduce {
    /// Their sum.
    Sum,
    /// The largest of them.
    Max,
    /// The smallest of them.
    Min,
    /// Their product.
    Prod,
}

impl Reduce {
    /// All reductions.
    pub const ALL: &[Reduce] = &[Reduce::Sum, Reduce::Max, Reduce::Min, Reduce::Prod];

    /// The name of the operation.
    pub const fn name(self) -> &'static str {
        match self {
            Reduce::Sum => "sum",
            Reduce::Max => "max",
            Reduce::Min => "min",
            Reduce::Prod => "prod",
        }
    }

    /// What the reduction of no element is.
    pub const fn identity(self) -> f32 {
        match self {
            Reduce::Sum => 0.0,
            Reduce::Max => f32::NEG_INFINITY,
            Reduce::Min => f32::INFINITY,
            Reduce::Prod => 1.0,
        }
    }

    /// One step in double precision.
    pub fn reference(self, acc: f64, x: f64) -> f64 {
        match self {
            Reduce::Sum => acc + x,
            Reduce::Max => larger(acc, x),
            Reduce::Min => smaller(acc, x),
            Reduce::Prod => acc * x,
        }
    }
}

/// The larger of two numbers; NaN if either one is.
pub(crate) fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// The smaller of two numbers; NaN if either one is.
pub(crate) fn smaller(a: f64, b: f64) -> f64 {
    -larger(-a, -b)
}
