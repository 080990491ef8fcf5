//! Dimensions and shapes as values that constant evaluation can compute with.
//!
//! A [`Dim`] is a coefficient times a product of symbols, so that `4 * D` and `B * T` are
//! values which can be compared, printed and multiplied before any size is known.
//!
//! The rules of shapes, which the compiler evaluates, are in [`check`].

pub mod check;

/// The most axes a tensor can have.
pub const MAX_RANK: usize = 8;

/// The most symbols that one dimension can be a product of.
const MAX_SYMBOLS: usize = 6;

/// What a sub-network's size parameter is before a size is given: `Linear` alone, without sizes.
pub const ANY: usize = usize::MAX;

/// The most elements of a tensor, four terabytes, and the largest number that an operation takes as a size, an offset
/// or a step. So what is computed of a few sizes are numbers of 64 bits: bytes, strides, operations of a product.
pub(crate) const MOST: usize = 1 << 40;

/// The number of elements of a tensor of these sizes; `None` where they are more than a tensor can have.
pub(crate) const fn elements(sizes: &[usize]) -> Option<usize> {
    let (mut len, mut empty, mut i) = (1usize, false, 0);
    while i < sizes.len() {
        // The other sizes of a tensor without elements are limited too: products of some of them are taken elsewhere.
        if sizes[i] == 0 {
            empty = true;
        } else {
            len = match len.checked_mul(sizes[i]) {
                Some(len) if len <= MOST => len,
                _ => return None,
            };
        }
        i += 1;
    }
    if empty { Some(0) } else { Some(len) }
}

/// One dimension: a coefficient times a product of symbols such as `B` (batch) or `T` (time).
///
/// ```
/// use downhill::shape::Dim;
/// let tokens = Dim::symbol('B').times(Dim::symbol('T'));
/// assert_eq!(tokens.times(Dim::n(4)).to_string(), "4*B*T");
/// assert!(tokens.same(Dim::symbol('T').times(Dim::symbol('B'))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dim {
    size: isize,
    /// Letters in ascending order, zero where there is none.
    symbols: [u8; MAX_SYMBOLS],
}

impl Dim {
    /// A dimension nothing is known about: it is the same as any other.
    pub const UNKNOWN: Dim = Dim { size: isize::MIN, symbols: [0; MAX_SYMBOLS] };

    /// A known size. Axes are dimensions too, so the number may be negative there.
    pub const fn n(size: usize) -> Dim {
        Dim::int(if size > isize::MAX as usize { isize::MAX } else { size as isize })
    }

    /// A known number that may be negative, as an axis counted from the end is.
    pub const fn int(size: isize) -> Dim {
        Dim { size: known(size), symbols: [0; MAX_SYMBOLS] }
    }

    /// A size that is only known when the network runs, named by one capital letter.
    pub const fn symbol(letter: char) -> Dim {
        let mut symbols = [0; MAX_SYMBOLS];
        symbols[0] = letter as u8;
        Dim { size: 1, symbols }
    }

    /// The number, or `None` while symbols are left in it.
    pub const fn get(self) -> Option<isize> {
        if self.is_unknown() || self.symbols[0] != 0 { None } else { Some(self.size) }
    }

    /// Whether nothing is known about this dimension.
    pub const fn is_unknown(self) -> bool {
        self.size == isize::MIN
    }

    /// The coefficient and the symbols in ascending order, zero where there is none.
    pub(crate) const fn parts(self) -> (isize, [u8; MAX_SYMBOLS]) {
        (self.size, self.symbols)
    }

    /// Whether both are the same size for every value of the symbols.
    pub const fn same(self, other: Dim) -> bool {
        self.is_unknown() || other.is_unknown() || self.size == other.size && self.same_symbols(other)
    }

    const fn same_symbols(self, other: Dim) -> bool {
        let mut i = 0;
        while i < MAX_SYMBOLS {
            if self.symbols[i] != other.symbols[i] {
                return false;
            }
            i += 1;
        }
        true
    }

    /// The product.
    pub const fn times(self, other: Dim) -> Dim {
        if self.is_unknown() || other.is_unknown() {
            return Dim::UNKNOWN;
        }
        let mut symbols = [0; MAX_SYMBOLS];
        let (mut i, mut j, mut k) = (0, 0, 0);
        // Merge two ascending lists of letters.
        loop {
            let a = if i < MAX_SYMBOLS { self.symbols[i] } else { 0 };
            let b = if j < MAX_SYMBOLS { other.symbols[j] } else { 0 };
            if a == 0 && b == 0 {
                return Dim { size: known(self.size.saturating_mul(other.size)), symbols };
            }
            if k == MAX_SYMBOLS {
                return Dim::UNKNOWN;
            }
            if b == 0 || a != 0 && a <= b {
                symbols[k] = a;
                i += 1;
            } else {
                symbols[k] = b;
                j += 1;
            }
            k += 1;
        }
    }

    /// The quotient, or `None` where it is not a whole number for every value of the symbols.
    pub const fn over(self, other: Dim) -> Option<Dim> {
        if self.is_unknown() || other.is_unknown() {
            return Some(Dim::UNKNOWN);
        }
        if other.size == 0 || self.size % other.size != 0 {
            return None;
        }
        let mut symbols = [0; MAX_SYMBOLS];
        let (mut i, mut j, mut k) = (0, 0, 0);
        while i < MAX_SYMBOLS && self.symbols[i] != 0 {
            if j < MAX_SYMBOLS && self.symbols[i] == other.symbols[j] {
                j += 1;
            } else {
                symbols[k] = self.symbols[i];
                k += 1;
            }
            i += 1;
        }
        if j < MAX_SYMBOLS && other.symbols[j] != 0 {
            return None;
        }
        Some(Dim { size: self.size / other.size, symbols })
    }

    /// The sum; unknown where the symbols differ, since a dimension is a single product.
    pub const fn plus(self, other: Dim) -> Dim {
        if self.is_unknown() || other.is_unknown() || !self.same_symbols(other) {
            return if self.is_zero() {
                other
            } else if other.is_zero() {
                self
            } else {
                Dim::UNKNOWN
            };
        }
        let mut sum = self;
        sum.size = known(sum.size.saturating_add(other.size));
        if sum.size == 0 { Dim::n(0) } else { sum }
    }

    /// The difference; unknown where the symbols differ.
    pub const fn minus(self, other: Dim) -> Dim {
        if other.is_unknown() {
            return Dim::UNKNOWN;
        }
        let mut negative = other;
        negative.size = -other.size;
        self.plus(negative)
    }

    /// Whether this is the number one.
    pub const fn is_one(self) -> bool {
        self.size == 1 && self.symbols[0] == 0
    }

    const fn is_zero(self) -> bool {
        self.size == 0
    }
}

/// A number that is not taken for an unknown one. Sizes that are too large stay at the end of their range.
const fn known(size: isize) -> isize {
    if size == isize::MIN { size + 1 } else { size }
}

/// The dimensions of a tensor, outermost first.
///
/// ```
/// use downhill::shape::{Dim, Shape};
/// let x = Shape::of(&[Dim::symbol('B'), Dim::n(64)]);
/// assert_eq!(x.to_string(), "[B, 64]");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    dims: [Dim; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// The shape of a single number.
    pub const SCALAR: Shape = Shape { dims: [Dim::int(0); MAX_RANK], rank: 0 };

    /// A shape from its dimensions; those past [`MAX_RANK`] are refused by [`Shape::push`].
    pub const fn of(dims: &[Dim]) -> Shape {
        let mut shape = Shape::SCALAR;
        let mut i = 0;
        while i < dims.len() {
            shape = shape.push(dims[i]);
            i += 1;
        }
        shape
    }

    /// A shape from known sizes.
    pub const fn sizes(sizes: &[usize]) -> Shape {
        let mut shape = Shape::SCALAR;
        let mut i = 0;
        while i < sizes.len() {
            shape = shape.push(Dim::n(sizes[i]));
            i += 1;
        }
        shape
    }

    /// The number of axes.
    pub const fn rank(&self) -> usize {
        self.rank
    }

    /// The dimension of an axis, counted from the outermost.
    pub const fn dim(&self, axis: usize) -> Dim {
        assert!(axis < self.rank, "axis past the rank of a shape");
        self.dims[axis]
    }

    /// The same shape with one more innermost axis.
    pub const fn push(mut self, dim: Dim) -> Shape {
        assert!(self.rank < MAX_RANK, "a tensor has at most 8 axes");
        self.dims[self.rank] = dim;
        self.rank += 1;
        self
    }

    /// The same shape with another dimension at `axis`.
    pub const fn with(mut self, axis: usize, dim: Dim) -> Shape {
        assert!(axis < self.rank, "axis past the rank of a shape");
        self.dims[axis] = dim;
        self
    }

    /// The axes from `start` up to, not including, `stop`.
    pub const fn range(&self, start: usize, stop: usize) -> Shape {
        let mut shape = Shape::SCALAR;
        let mut i = start;
        while i < stop {
            shape = shape.push(self.dim(i));
            i += 1;
        }
        shape
    }

    /// The axes of both, those of `self` first.
    pub const fn join(&self, other: &Shape) -> Shape {
        let mut shape = *self;
        let mut i = 0;
        while i < other.rank {
            shape = shape.push(other.dims[i]);
            i += 1;
        }
        shape
    }

    /// Whether both have the same dimensions.
    pub const fn same(&self, other: &Shape) -> bool {
        if self.rank != other.rank {
            return false;
        }
        let mut i = 0;
        while i < self.rank {
            if !self.dims[i].same(other.dims[i]) {
                return false;
            }
            i += 1;
        }
        true
    }

    /// The product of all dimensions.
    pub const fn len(&self) -> Dim {
        let mut len = Dim::n(1);
        let mut i = 0;
        while i < self.rank {
            len = len.times(self.dims[i]);
            i += 1;
        }
        len
    }

    /// Whether it has more elements than a tensor can have, whatever its symbols are.
    pub(crate) const fn is_too_large(&self) -> bool {
        let (mut known, mut i) = (1isize, 0);
        while i < self.rank {
            let (size, _) = self.dims[i].parts();
            // What is not known counts as one element, and so does no element: see `elements`.
            if !self.dims[i].is_unknown() && size > 1 {
                known = known.saturating_mul(size);
            }
            i += 1;
        }
        known as usize > MOST
    }

    /// The number of axis `axis`, which counts from the end when negative; `None` past the rank.
    pub const fn axis(&self, axis: isize) -> Option<usize> {
        let rank = self.rank as isize;
        if axis < -rank || axis >= rank {
            None
        } else if axis < 0 {
            Some((axis + rank) as usize)
        } else {
            Some(axis as usize)
        }
    }

    /// The shape both broadcast to by NumPy's rule: aligned at the innermost axis, a one stretches.
    pub const fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = if self.rank > other.rank { self.rank } else { other.rank };
        let mut shape = Shape::SCALAR;
        let mut i = 0;
        while i < rank {
            let a = self.aligned(i, rank);
            let b = other.aligned(i, rank);
            shape = shape.push(if a.is_one() {
                b
            } else if b.is_one() {
                a
            } else if a.same(b) {
                if a.is_unknown() { b } else { a }
            } else {
                return None;
            });
            i += 1;
        }
        Some(shape)
    }

    const fn aligned(&self, axis: usize, rank: usize) -> Dim {
        let missing = rank - self.rank;
        if axis < missing { Dim::n(1) } else { self.dims[axis - missing] }
    }

    /// The sizes, or `None` while a symbol is left.
    pub fn concrete(&self) -> Option<Vec<usize>> {
        self.dims[..self.rank].iter().map(|d| d.get().and_then(|n| n.try_into().ok())).collect()
    }
}

/// What the elements of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// Single-precision numbers, written `Tensor`: the only elements with a gradient.
    F32,
    /// Whole numbers that select rows or classes, written `Index`.
    I32,
    /// Truth values, written `Mask`: what a comparison gives and `select` takes.
    Bool,
}

impl DType {
    /// The name in a signature.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "Tensor",
            DType::I32 => "Index",
            DType::Bool => "Mask",
        }
    }

    /// Whether both are the same.
    pub const fn same(self, other: DType) -> bool {
        self as u8 == other as u8
    }
}

/// The whole numbers that an index may hold: from 0 up to, not including, `count`, and one other that
/// stands for no row, as PyTorch's `ignore_index` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rows {
    /// How many rows there are.
    pub count: usize,
    /// What may stand in place of a row.
    pub other: Option<i32>,
}

impl Rows {
    /// The numbers below `count` alone.
    pub const fn below(count: usize) -> Rows {
        Rows { count, other: None }
    }

    /// Whether an index may hold this number.
    pub const fn admits(self, entry: i32) -> bool {
        let is_other = match self.other {
            Some(other) => other == entry,
            None => false,
        };
        is_other || entry >= 0 && (entry as usize) < self.count
    }
}
