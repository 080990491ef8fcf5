//! The abstract values that shape rules compute with, and the collection of their errors.
//!
//! The same `const fn` rules run twice. `cargo check` evaluates them on the symbols of a signature, where an error is a
//! compile error. Before a graph is staged, they run on the actual sizes, where an error becomes
//! [`Error::Shape`](crate::Error::Shape).

mod frame;
mod holds;
mod interval;
mod message;

pub use frame::{Declared, Frame};
pub(crate) use holds::{Holds, Logic, advice, reach};
pub(crate) use interval::{Interval, Refinement};
pub use message::Message;

use holds::Notes;

use super::{DType, Dim, Shape};
use crate::ir::elementwise::{Binary, Compare};

/// A set of parameters by number. It distinguishes the first 512; further parameters of a model are checked when it is
/// staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamSet([u64; 8]);

impl ParamSet {
    /// The number of parameters that a set distinguishes.
    pub const CAPACITY: usize = 512;

    /// No parameter.
    pub const EMPTY: ParamSet = ParamSet([0; 8]);

    /// Every parameter, for a value of which only the declaration is known.
    pub const ALL: ParamSet = ParamSet([u64::MAX; 8]);

    /// One parameter.
    pub const fn one(id: usize) -> ParamSet {
        let mut set = ParamSet::EMPTY;
        if id < ParamSet::CAPACITY {
            set.0[id / 64] = 1 << (id % 64);
        }
        set
    }

    /// The parameters of both.
    pub const fn union(mut self, other: ParamSet) -> ParamSet {
        let mut i = 0;
        while i < 8 {
            self.0[i] |= other.0[i];
            i += 1;
        }
        self
    }

    /// Whether parameter `id` is in it.
    pub const fn has(&self, id: usize) -> bool {
        id < ParamSet::CAPACITY && self.0[id / 64] >> (id % 64) & 1 == 1
    }
}

/// What is known of a tensor before it is computed.
#[derive(Clone, Copy, Debug)]
pub struct TensorType {
    /// What its elements are.
    pub dtype: DType,
    /// Its dimensions.
    pub shape: Shape,
    /// The parameters that a gradient of this tensor reaches.
    pub reach: ParamSet,
    /// The parameters it depends on through an operation without a gradient.
    pub cut: ParamSet,
    /// What is known of its elements.
    pub(crate) holds: Holds,
}

impl TensorType {
    /// A tensor that depends on no parameter.
    pub const fn new(dtype: DType, shape: Shape) -> TensorType {
        TensorType { dtype, shape, reach: ParamSet::EMPTY, cut: ParamSet::EMPTY, holds: Holds::open(dtype) }
    }

    /// The same dependencies with another element type and shape, and elements of which nothing is known.
    pub const fn like(mut self, dtype: DType, shape: Shape) -> TensorType {
        self.dtype = dtype;
        self.shape = shape;
        self.holds = Holds::open(dtype);
        self
    }

    /// The same elements, all of them and in their order, under another shape.
    pub const fn shown(mut self, shape: Shape) -> TensorType {
        self.shape = shape;
        self
    }

    /// The same elements, all of them, in another order or several times.
    pub(crate) const fn permuted(mut self, shape: Shape) -> TensorType {
        self.shape = shape;
        self.holds = self.holds.permuted();
        self
    }

    /// Some of the elements.
    pub(crate) const fn part(mut self, shape: Shape) -> TensorType {
        self.shape = shape;
        self.holds = self.holds.part();
        self
    }

    /// `size` elements along an axis, from `start` on in steps of `step`.
    pub(crate) const fn slice(self, axis: usize, start: Dim, step: isize, size: Dim) -> TensorType {
        let shape = self.shape.with(axis, size);
        let (first, count) = (start.get(), size.get());
        match (first, step, count, self.shape.dim(axis).get()) {
            (Some(0), 1, Some(count), Some(all)) if count == all => self,
            _ if self.shape.rank() > 1 => self.part(shape),
            _ => self.like(self.dtype, shape).holding(self.holds.slice(first, step, count, self.dtype)),
        }
    }

    /// Elements of which this is known.
    pub(crate) const fn holding(mut self, holds: Holds) -> TensorType {
        self.holds = holds;
        self
    }

    /// Elements that are computed, and of which nothing is known.
    pub(crate) const fn computed(self) -> TensorType {
        self.holding(Holds::computed(self.dtype))
    }

    /// Adds the dependencies of `other`.
    pub const fn depends(mut self, other: TensorType) -> TensorType {
        self.reach = self.reach.union(other.reach);
        self.cut = self.cut.union(other.cut);
        self
    }

    /// The dependencies of the result of an operation without a gradient.
    pub const fn cut(mut self) -> TensorType {
        self.cut = self.cut.union(self.reach);
        self.reach = ParamSet::EMPTY;
        self
    }
}

/// An argument or result of a shape rule.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "types are copied while a network is compiled, where nothing can be boxed"
)]
pub enum Type {
    /// A tensor of a known shape.
    Tensor(TensorType),
    /// A size or an axis.
    Dim(Dim),
    /// A list of sizes or axes.
    Dims(Shape),
    /// A number that no shape depends on; `None` where it is not known yet.
    Number(Option<f64>),
    /// A truth value.
    Bool(bool),
    /// A tensor whose shape is not known, because an error was reported on the way to it or
    /// because its signature leaves it open. Nothing that depends on it is reported.
    Unknown,
}

impl Type {
    /// A tensor that depends on no parameter.
    pub const fn tensor(dtype: DType, shape: Shape) -> Type {
        Type::Tensor(TensorType::new(dtype, shape))
    }

    /// A list of sizes or axes.
    pub const fn dims(dims: &[Dim]) -> Type {
        Type::Dims(Shape::of(dims))
    }

    /// A number that is known.
    pub const fn number(x: f64) -> Type {
        Type::Number(Some(x))
    }

    /// Whether this is a number, which goes with every shape.
    pub(crate) const fn is_number(self) -> bool {
        matches!(self, Type::Number(_) | Type::Dim(_))
    }

    /// Whether this is no number that an `Index` can hold: not whole, or out of its range.
    pub(crate) const fn is_fraction(self) -> bool {
        match self {
            Type::Number(Some(x)) => x as i32 as f64 != x,
            Type::Dim(dim) => matches!(dim.get(), Some(n) if n < i32::MIN as isize || n > i32::MAX as isize),
            _ => false,
        }
    }

    /// This number as an element of a tensor.
    const fn element(self, dtype: DType) -> Holds {
        match self {
            Type::Number(Some(x)) => Holds::number(x, dtype),
            Type::Dim(dim) => match dim.get() {
                Some(n) => Holds::number(n as f64, dtype),
                None => Holds::vague(dtype),
            },
            _ => Holds::vague(dtype),
        }
    }

    /// What is known of the elements of an operand of this type.
    pub(crate) const fn holds(self, dtype: DType) -> Holds {
        match self {
            Type::Tensor(t) => t.holds,
            other => other.element(dtype),
        }
    }

    /// This argument as a tensor: a number is one without axes. `None` where it is unknown.
    #[track_caller]
    pub const fn operand(self, cx: &mut Check, op: &str) -> Option<TensorType> {
        match self {
            Type::Tensor(t) if t.shape.is_too_large() => {
                let message = Message::new().str(op).str(": ").shape(t.shape);
                cx.error(message.str(" has more than 2^40 elements"));
                None
            }
            Type::Tensor(t) => Some(t),
            Type::Number(_) | Type::Dim(_) => {
                Some(TensorType::new(DType::F32, Shape::SCALAR).holding(self.element(DType::F32)))
            }
            Type::Unknown => None,
            Type::Bool(_) | Type::Dims(_) => {
                cx.error(Message::new().str(op).str(": expected a tensor, found a list or a truth value"));
                None
            }
        }
    }
}

/// A constant expression of any type that networks take, as an argument of a shape rule. Which
/// `arg` is meant is found by the type, which a `const fn` can do and a trait could not.
pub struct Const<T>(pub T);

impl Const<usize> {
    /// A size or axis.
    pub const fn arg(self) -> Type {
        Type::Dim(Dim::n(self.0))
    }
}

impl Const<isize> {
    /// An axis.
    pub const fn arg(self) -> Type {
        Type::Dim(Dim::int(self.0))
    }
}

impl Const<f32> {
    /// A number.
    pub const fn arg(self) -> Type {
        Type::number(self.0 as f64)
    }
}

impl Const<f64> {
    /// A number.
    pub const fn arg(self) -> Type {
        Type::number(self.0)
    }
}

impl Const<bool> {
    /// A truth value.
    pub const fn arg(self) -> Type {
        Type::Bool(self.0)
    }
}

impl Const<Type> {
    /// The argument itself.
    pub const fn arg(self) -> Type {
        self.0
    }
}

impl<const N: usize> Const<[usize; N]> {
    /// A list of sizes or axes.
    pub const fn arg(self) -> Type {
        Type::Dims(Shape::sizes(&self.0))
    }
}

/// Where shape rules report errors.
pub struct Check {
    raise: usize,
    errors: usize,
    first: Message,
    /// The function of the library that the user's own calls, while it is looked at.
    caller: Option<&'static str>,
    notes: Notes,
}

impl Check {
    /// Counts errors and keeps the first, as is done when the network runs.
    pub const fn record() -> Check {
        Check::raise(usize::MAX)
    }

    /// Panics at error number `n`, counted from zero: in constant evaluation that is a compile
    /// error at the expression at fault. One constant for each number reports several mistakes.
    pub const fn raise(n: usize) -> Check {
        Check { raise: n, errors: 0, first: Message::new(), caller: None, notes: Notes::new() }
    }

    /// Reports an error; the value at fault is unknown from here on.
    #[track_caller]
    pub const fn error(&mut self, message: Message) -> Type {
        if self.errors == self.raise {
            panic!("{}", message.get());
        }
        if self.errors == 0 {
            self.first = message;
        }
        self.errors += 1;
        Type::Unknown
    }

    /// The result of `if training()`, whose branches must have the same type and shape.
    #[track_caller]
    pub const fn either(&mut self, training: Type, otherwise: Type) -> Type {
        let (Type::Tensor(a), Type::Tensor(b)) = (training, otherwise) else {
            return match (training, otherwise) {
                (Type::Number(Some(a)), Type::Number(Some(b))) if a == b => training,
                (Type::Tensor(_), _) => training,
                (Type::Number(_), Type::Number(_)) if training.is_fraction() => training,
                (Type::Number(_), Type::Number(_)) if !otherwise.is_fraction() => Type::Number(None),
                _ => otherwise,
            };
        };
        if !a.dtype.same(b.dtype) || !a.shape.same(&b.shape) {
            let message = Message::new().str("`if training()`: ").str(a.dtype.name()).str(" ").shape(a.shape);
            let message = message.str(" while training, ").str(b.dtype.name()).str(" ").shape(b.shape);
            return self.error(message.str(" otherwise"));
        }
        Type::Tensor(if a.holds.same(b.holds) { a } else { a.holding(Holds::vague(a.dtype)) })
    }

    /// What is known of the results of a function of two numbers.
    pub(crate) const fn binary(&mut self, op: Binary, a: Holds, b: Holds, dtype: DType) -> Holds {
        self.notes.binary(op, a, b, dtype)
    }

    /// What is known of the mask of a comparison.
    pub(crate) const fn compare(&mut self, op: Compare, a: Holds, b: Holds) -> Holds {
        self.notes.compare(op, a, b)
    }

    /// What is known of a combination of masks.
    pub(crate) const fn join(&mut self, op: Logic, a: Holds, b: Holds) -> Holds {
        self.notes.join(op, a, b)
    }

    /// What is known of the elements that a selection takes.
    pub(crate) const fn select(&mut self, mask: Holds, a: Holds, b: Holds, dtype: DType) -> Holds {
        self.notes.select(mask, a, b, dtype)
    }

    /// The number of errors so far.
    pub const fn errors(&self) -> usize {
        self.errors
    }

    /// The first error, if there was one.
    pub const fn first(&self) -> Option<&str> {
        if self.errors > 0 { Some(self.first.get()) } else { None }
    }
}

/// Reports a parameter that is called as another one is.
#[track_caller]
pub const fn distinct(cx: &mut Check, name: Message, other: Message) {
    if name.same(&other) {
        cx.error(Message::new().str("two parameters are called `").str(name.get()).str("`"));
    }
}

/// The quotient of two sizes; one that leaves a remainder is an error.
#[track_caller]
pub const fn divide(cx: &mut Check, a: Dim, b: Dim) -> Dim {
    match a.over(b) {
        Some(quotient) => quotient,
        None => {
            cx.error(Message::new().dim(b).str(" does not divide ").dim(a));
            Dim::UNKNOWN
        }
    }
}

/// A loop-carried variable, before and after an iteration: its shape must stay the same, and it depends on what both
/// depend on.
#[track_caller]
pub const fn carried(cx: &mut Check, name: &str, before: Type, after: Type) -> Type {
    let (Some(before), Some(after)) = (before.operand(cx, "for"), after.operand(cx, "for")) else {
        return Type::Unknown;
    };
    if !before.dtype.same(after.dtype) || !before.shape.same(&after.shape) {
        let message = Message::new().str("for: `").str(name).str("` is ").shape(before.shape);
        return cx.error(message.str(" before a round of the loop and ").shape(after.shape).str(" behind it"));
    }
    let elements = if before.holds.same(after.holds) { after.holds } else { Holds::vague(after.dtype) };
    Type::Tensor(after.depends(before).holding(elements))
}
