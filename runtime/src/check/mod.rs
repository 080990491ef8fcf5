//! The abstract values that shape rules compute with, and where their errors go.
//!
//! The same `const fn` rules run twice: in constant evaluation, on the symbols of a signature,
//! where an error stops `cargo check`; and before a graph is staged, on the sizes at hand, where
//! it becomes [`Error::Shape`](crate::Error::Shape).

mod frame;
mod message;

pub use frame::{Declared, Frame};
pub use message::Message;

use crate::network::Param;
use crate::shape::{DType, Dim, Shape};

/// A set of parameters by number. The first 512 are told apart; a model with more has the rest
/// checked when it is staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamSet([u64; 8]);

impl ParamSet {
    /// The parameters that a set can tell apart.
    pub const CAPACITY: usize = 512;

    /// No parameter.
    pub const EMPTY: ParamSet = ParamSet([0; 8]);

    /// Every parameter: said of a value of which only the declaration is known.
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
    /// The largest number that an `Index` is known to hold, as `iota(8)` holds 7.
    pub holds: Option<usize>,
}

impl TensorType {
    /// A tensor that depends on no parameter.
    pub const fn new(dtype: DType, shape: Shape) -> TensorType {
        TensorType { dtype, shape, reach: ParamSet::EMPTY, cut: ParamSet::EMPTY, holds: None }
    }

    /// The same dependencies with another element type and shape.
    pub const fn like(mut self, dtype: DType, shape: Shape) -> TensorType {
        self.dtype = dtype;
        self.shape = shape;
        self.holds = None;
        self
    }

    /// The same elements, all of them, under another shape.
    pub const fn shown(mut self, shape: Shape) -> TensorType {
        self.shape = shape;
        self
    }

    /// Refuses an index that is known to hold a number of no row, where there are so many.
    #[track_caller]
    pub(crate) const fn names_rows(self, cx: &mut Check, op: &str, rows: Dim) -> bool {
        let (Some(holds), Some(rows)) = (self.holds, rows.get()) else { return true };
        if (holds as isize) < rows {
            return true;
        }
        let message = Message::new().str(op).str(": an index into ").num(rows).str(" rows holds ");
        cx.error(message.num(holds as isize));
        false
    }

    /// Adds the dependencies of `other`.
    pub const fn depends(mut self, other: TensorType) -> TensorType {
        self.reach = self.reach.union(other.reach);
        self.cut = self.cut.union(other.cut);
        self
    }

    /// What remains of the dependencies behind an operation without a gradient.
    pub const fn cut(mut self) -> TensorType {
        self.cut = self.cut.union(self.reach);
        self.reach = ParamSet::EMPTY;
        self
    }
}

/// An argument or result of a shape rule.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// A tensor of a known shape.
    Tensor(TensorType),
    /// A size or an axis.
    Dim(Dim),
    /// A list of sizes or axes.
    Dims(Shape),
    /// A number that no shape depends on: a whole one that an `Index` can hold, or one that is not known yet.
    Number,
    /// A number that no `Index` can hold: not whole, or out of its range.
    Fraction,
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
        if x as i32 as f64 == x { Type::Number } else { Type::Fraction }
    }

    /// Whether this is no number that an `Index` can hold.
    pub(crate) const fn is_fraction(self) -> bool {
        match self {
            Type::Fraction => true,
            Type::Dim(dim) => matches!(dim.get(), Some(n) if n < i32::MIN as isize || n > i32::MAX as isize),
            _ => false,
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
            Type::Number | Type::Fraction | Type::Dim(_) => Some(TensorType::new(DType::F32, Shape::SCALAR)),
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

impl Const<Param> {
    /// A parameter.
    pub const fn arg(self) -> Type {
        self.0.ty()
    }
}

impl Const<crate::network::State> {
    /// A state.
    pub const fn arg(self) -> Type {
        self.0.ty()
    }
}

/// Where shape rules report errors.
pub struct Check {
    raise: usize,
    errors: usize,
    first: Message,
}

impl Check {
    /// Counts errors and keeps the first, as is done when the network runs.
    pub const fn record() -> Check {
        Check { raise: usize::MAX, errors: 0, first: Message::new() }
    }

    /// Panics at error number `n`, counted from zero: in constant evaluation that is a compile
    /// error at the expression at fault. One constant for each number reports several mistakes.
    pub const fn raise(n: usize) -> Check {
        Check { raise: n, errors: 0, first: Message::new() }
    }

    /// Reports an error; the value at fault counts as unknown from here on.
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

    /// What comes of an `if training()`: the result of both branches, which must be alike.
    #[track_caller]
    pub const fn either(&mut self, training: Type, otherwise: Type) -> Type {
        let (Type::Tensor(a), Type::Tensor(b)) = (training, otherwise) else {
            return match training {
                Type::Tensor(_) | Type::Fraction => training,
                _ => otherwise,
            };
        };
        if !a.dtype.same(b.dtype) || !a.shape.same(&b.shape) {
            let message = Message::new().str("`if training()`: ").str(a.dtype.name()).str(" ").shape(a.shape);
            let message = message.str(" while training, ").str(b.dtype.name()).str(" ").shape(b.shape);
            return self.error(message.str(" otherwise"));
        }
        training
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

/// A variable that a loop carries, before a round and behind it: it keeps its shape, and depends on
/// what both depend on.
#[track_caller]
pub const fn carried(cx: &mut Check, name: &str, before: Type, after: Type) -> Type {
    let (Some(before), Some(after)) = (before.operand(cx, "for"), after.operand(cx, "for")) else {
        return Type::Unknown;
    };
    if !before.dtype.same(after.dtype) || !before.shape.same(&after.shape) {
        let message = Message::new().str("for: `").str(name).str("` is ").shape(before.shape);
        return cx.error(message.str(" before a round of the loop and ").shape(after.shape).str(" behind it"));
    }
    Type::Tensor(after.depends(before))
}

/// Reports a parameter called `name`, unless the gradient of the loss `y` reaches it; a state needs none.
#[track_caller]
pub const fn parameter(cx: &mut Check, y: Type, param: Param, name: Message) {
    let Type::Tensor(loss) = y else { return };
    let id = param.id();
    if param.is_state() || id >= ParamSet::CAPACITY || loss.reach.has(id) {
        return;
    }
    let message = Message::new().str("parameter `").str(name.get());
    cx.error(if loss.cut.has(id) {
        message.str("` gets no gradient: every way to the loss goes through an operation without one (`stop_gradient` says that this is meant)")
    } else {
        message.str("` cannot influence the loss: use it, or remove it")
    });
}
