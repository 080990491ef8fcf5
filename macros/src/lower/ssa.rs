//! The body of a network function as single assignments: what `lower` makes of source, and what
//! `gradient` and `emit` read.
//!
//! Every value is defined once and has a name of its own within the function, so shadowing and
//! reassignment are gone. Control flow stays structured: an `if` yields the values that its
//! branches disagree on, a `for` carries the values that its body reassigns.

use std::collections::BTreeSet;

use proc_macro2::{Ident, Span};
use syn::{Expr, Path};

use crate::names::Names;
use crate::parse::dims::Dim;

/// A value, by its place in [`Function::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub usize);

/// What a value is in the three functions that are emitted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A `Value` when staged, a `Type` in shape rules.
    Tensor,
    /// A `usize` or `isize` when staged, a `Dim` in shape rules.
    Size,
    /// A list of sizes when staged, a `Type` in shape rules.
    Sizes,
    /// A number when staged; shape rules do without it.
    Number,
    /// The same in both: a constant, or a condition.
    Constant,
    /// The network that a loop is at: a reference.
    Network,
}

/// A name and what it stands for.
pub struct ValueInfo {
    pub name: Ident,
    pub kind: Kind,
}

/// A network function in single assignments.
pub struct Function {
    pub values: Vec<ValueInfo>,
    /// The parameters behind `&self`, in order.
    pub params: Vec<ValueId>,
    /// The sizes of the network itself, which are fields of `self`.
    pub sizes: Vec<ValueId>,
    /// The symbols of the signature that inputs bind.
    pub symbols: Vec<Symbol>,
    pub body: Block,
    /// The states of the network that are assigned, with what they become.
    pub updates: Vec<(Plain, ValueId)>,
    /// For names that emission needs besides those of the values.
    pub names: Names,
    /// The functions of the same block that are called.
    pub calls: BTreeSet<String>,
}

impl Function {
    pub fn name(&self, value: ValueId) -> &Ident {
        &self.values[value.0].name
    }
}

/// A symbol such as `B` and where its size is found.
pub struct Symbol {
    pub value: ValueId,
    /// The letter in the signature.
    pub letter: Ident,
    pub param: ValueId,
    /// Counted from the end if negative.
    pub axis: isize,
}

/// Statements in order, and what they are for.
#[derive(Clone, Default)]
pub struct Block {
    pub stmts: Vec<Stmt>,
    pub results: Vec<ValueId>,
}

/// A statement. An output that nothing reads is `None` once liveness is known.
#[derive(Clone)]
pub enum Stmt {
    Call(Call),
    /// A parameter or plain field of a network.
    Field {
        place: Plain,
        out: Option<ValueId>,
    },
    /// A number that becomes a tensor, since it meets tensors in a variable.
    Number {
        plain: Plain,
        out: Option<ValueId>,
    },
    /// A constant expression with a name.
    Let {
        plain: Plain,
        out: Option<ValueId>,
    },
    If(If),
    For(For),
}

/// A call of a network function, or an operator.
#[derive(Clone)]
pub struct Call {
    pub callee: Callee,
    pub args: Vec<Arg>,
    pub outs: Vec<Option<ValueId>>,
    /// Whether its gradient computes its values again in place of keeping them.
    pub checkpoint: bool,
    /// Whether the outputs are a list, as those of `chunk` are, and no tuple.
    pub list: bool,
    /// The number of the call in the function, which tells random numbers of different calls apart. An operator
    /// has none.
    pub site: Option<Site>,
    /// Where the arguments stand in the source.
    pub span: Span,
}

/// The number of a call or a loop in its function. The forward function and the gradient have the same.
#[derive(Clone, Copy)]
pub struct Site(pub u32);

/// What is called.
#[derive(Clone)]
pub enum Callee {
    /// `gelu(x)`, and operators.
    Function {
        path: Path,
        /// Whether a gradient can pass; none does through a comparison.
        smooth: bool,
    },
    /// `self.up(x)`: the function `name` of the network at `place`.
    Method { place: Plain, name: Ident },
}

/// An argument.
#[derive(Clone)]
pub enum Arg {
    Value(Read),
    /// Tensors in brackets.
    List(Vec<Read>),
    Plain(Plain),
}

/// A value read at a place in the source.
#[derive(Clone, Copy)]
pub struct Read {
    pub value: ValueId,
    pub span: Span,
}

/// `if` on a constant; both branches yield as many values as there are outputs.
#[derive(Clone)]
pub struct If {
    pub condition: Plain,
    /// Whether the condition is `training()`: shape rules check both branches.
    pub training: bool,
    pub then: Block,
    pub other: Block,
    pub outs: Vec<ValueId>,
}

/// A loop; the body yields the next value of every carried variable, then a slice of every output.
#[derive(Clone)]
pub struct For {
    pub over: Over,
    /// What the body calls an element; the first one identifies the loop, too.
    pub items: Vec<Item>,
    pub carried: Vec<Carried>,
    pub body: Block,
    /// What the loop yields: the slices of all iterations together.
    pub outs: Vec<ValueId>,
    /// Values of carried variables at the start of every iteration that the gradient needs.
    pub saved: Option<Saved>,
    /// The number of the loop, if calls in it have one.
    pub site: Option<Site>,
}

impl For {
    pub fn id(&self) -> ValueId {
        self.items[0].value
    }
}

/// What a loop runs over.
#[derive(Clone)]
pub enum Over {
    /// `&self.blocks`: the networks of an array.
    Networks(Plain),
    /// `unbind([x, y], 1)`: the slices of tensors along an axis.
    Slices(Slices),
}

/// Tensors that a loop walks slice by slice, and the function that cuts them.
#[derive(Clone)]
pub struct Slices {
    pub path: Path,
    pub tensors: Vec<Read>,
    pub axis: Plain,
    /// Where the arguments stand in the source.
    pub span: Span,
}

impl Over {
    /// The values the loop reads before its first iteration.
    pub fn reads(&self, mode: Mode) -> Vec<ValueId> {
        match self {
            Over::Networks(array) => array.reads(mode).to_vec(),
            Over::Slices(slices) => {
                let tensors = slices.tensors.iter().map(|read| read.value);
                tensors.chain(slices.axis.reads(mode).iter().copied()).collect()
            }
        }
    }
}

/// What the body of a loop calls the element it is at.
#[derive(Clone, Copy)]
pub struct Item {
    pub value: ValueId,
    /// Whether the body mentions it.
    pub read: bool,
}

/// A variable that a loop reassigns. `inner` and `out` share a name: they are the same variable
/// during and after the loop.
#[derive(Clone, Copy)]
pub struct Carried {
    pub init: ValueId,
    pub inner: ValueId,
    pub out: ValueId,
}

/// What a loop leaves behind for its gradient: a vector `name` of these values.
#[derive(Clone)]
pub struct Saved {
    pub name: Ident,
    pub values: Vec<ValueId>,
}

/// An expression that is emitted as written: a size, a constant, a condition, or the place of a
/// network or field.
#[derive(Clone)]
pub struct Plain {
    pub expr: Box<Expr>,
    pub meaning: Meaning,
    pub reads: Vec<ValueId>,
}

/// What an expression is in shape rules.
#[derive(Clone)]
pub enum Meaning {
    Number(Number),
    Size(Dim),
    Sizes(Vec<Dim>),
    /// The expression itself.
    Constant,
}

/// How shape rules find out the value of a number.
#[derive(Clone)]
pub enum Number {
    /// It is written out, or the name of another number.
    Itself,
    /// Arithmetic that constant evaluation can do as it is written, once these sizes are numbers.
    Computed(Vec<Ident>),
    /// They do without.
    Unknown,
}

/// Which of the functions is meant: staging has numbers, shape rules know the value of some.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Stage,
    Shape,
}

impl Plain {
    /// The values the expression reads in this mode.
    pub fn reads(&self, mode: Mode) -> &[ValueId] {
        match (&self.meaning, mode) {
            (Meaning::Number(Number::Unknown), Mode::Shape) => &[],
            _ => &self.reads,
        }
    }
}

impl Call {
    /// The values the call reads in this mode.
    pub fn reads(&self, mode: Mode) -> Vec<ValueId> {
        let mut reads = Vec::new();
        if let Callee::Method { place, .. } = &self.callee {
            reads.extend(place.reads(mode));
        }
        for arg in &self.args {
            match arg {
                Arg::Value(read) => reads.push(read.value),
                Arg::List(list) => reads.extend(list.iter().map(|read| read.value)),
                Arg::Plain(plain) => reads.extend(plain.reads(mode)),
            }
        }
        reads
    }
}
