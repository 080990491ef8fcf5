//! Source to single assignments: the body of a network function as [`ssa::Function`](self::ssa).
//!
//! An environment says which value each variable holds at the moment, so a shadowing `let` and
//! an assignment are the same thing here: the name now means another value.

mod attrs;
mod calls;
mod control;
mod exprs;
mod plain;
pub mod ssa;
mod states;
mod stmts;
mod unsupported;

use std::collections::BTreeSet;

use proc_macro2::{Ident, Span};
use quote::{ToTokens, format_ident};

use crate::error::{Checked, Errors, Reported};
use crate::names::{Names, local};
use crate::parse::signature::{Declared, Dims, ParamKind, Signature};
use ssa::{Block, Function, Kind, Meaning, Plain, Read, Site, Stmt, Symbol, ValueId, ValueInfo};

/// What a function body can refer to besides its own parameters.
pub struct Scope<'a> {
    /// The names of all functions of the same `impl` block.
    pub methods: &'a BTreeSet<String>,
    /// The const parameters of the network.
    pub sizes: &'a [Ident],
    /// Whether there is a network behind the functions, whose states they can assign.
    pub network: bool,
}

/// Lowers the body of a function.
pub fn lower(sig: &Signature, body: &syn::Block, scope: &Scope, errors: &mut Errors) -> Checked<Function> {
    let mut source = body.to_token_stream();
    source.extend(sig.params.iter().map(|param| param.name.to_token_stream()));
    let mut lower = Lower {
        methods: scope.methods,
        network: scope.network,
        errors,
        values: Vec::new(),
        names: Names::new(source),
        env: Vec::new(),
        stmts: Vec::new(),
        calls: BTreeSet::new(),
        unbound: Vec::new(),
        sites: 0,
    };
    let before = lower.errors.len();
    let sizes = lower.sizes(scope.sizes);
    let params = lower.params(sig);
    let symbols = lower.symbols(sig, &params);
    let before_states = lower.env.len();
    let states = lower.states(body);
    let results = lower.body(sig, body);
    if lower.errors.len() > before {
        return Err(Reported);
    }
    let assigned = lower.env[before_states..].iter().map(|local| local.value);
    let updates = states.into_iter().zip(assigned).collect();
    Ok(Function {
        updates,
        params,
        sizes,
        symbols,
        body: Block { stmts: lower.stmts, results: results? },
        values: lower.values,
        names: lower.names,
        calls: lower.calls,
    })
}

/// A variable in scope.
#[derive(Clone)]
struct Local {
    name: Ident,
    value: ValueId,
    mutable: bool,
    /// Whether this is a state of the network, written `self.name`.
    state: bool,
}

/// What an expression came to.
enum Operand {
    Value(Read),
    /// A size, number or constant, which needs no statement.
    Plain(Plain),
}

/// How many values an expression shall yield, and the names they get.
enum Want<'a> {
    One(Option<&'a Ident>),
    Tuple(Vec<Want<'a>>),
    /// What an operation such as `chunk` returns.
    List(Vec<Want<'a>>),
}

impl<'a> Want<'a> {
    /// What statements without a value yield.
    const NOTHING: Want<'static> = Want::Tuple(Vec::new());

    /// The same values under no names, for a block whose results get theirs outside.
    fn unnamed(&self) -> Want<'static> {
        match self {
            Want::One(_) => Want::One(None),
            Want::Tuple(wants) => Want::Tuple(wants.iter().map(Want::unnamed).collect()),
            Want::List(wants) => Want::List(wants.iter().map(Want::unnamed).collect()),
        }
    }

    /// The names of all values, nested tuples laid flat.
    fn names(&self) -> Vec<Option<&'a Ident>> {
        match self {
            Want::One(name) => vec![*name],
            Want::Tuple(wants) | Want::List(wants) => wants.iter().flat_map(Want::names).collect(),
        }
    }
}

struct Lower<'a> {
    methods: &'a BTreeSet<String>,
    network: bool,
    errors: &'a mut Errors,
    values: Vec<ValueInfo>,
    names: Names,
    env: Vec<Local>,
    /// The statements of the block at hand.
    stmts: Vec<Stmt>,
    calls: BTreeSet<String>,
    /// Symbols of the signature that no input binds.
    unbound: Vec<Ident>,
    /// How many calls and loops have a number so far.
    sites: u32,
}

impl Lower<'_> {
    fn sizes(&mut self, sizes: &[Ident]) -> Vec<ValueId> {
        sizes.iter().map(|name| self.declare(name, Kind::Constant, false)).collect()
    }

    fn params(&mut self, sig: &Signature) -> Vec<ValueId> {
        sig.params
            .iter()
            .map(|param| {
                let kind = match param.kind {
                    ParamKind::Tensor(_) => Kind::Tensor,
                    ParamKind::Number(_) => Kind::Number,
                    ParamKind::Size(_) => Kind::Size,
                    ParamKind::Flag(_) => Kind::Constant,
                    ParamKind::Sizes(_) => Kind::Sizes,
                };
                self.declare(&param.name, kind, param.mutable)
            })
            .collect()
    }

    /// A symbol is the size of the first axis that is declared as just this symbol.
    fn symbols(&mut self, sig: &Signature, params: &[ValueId]) -> Vec<Symbol> {
        let mut symbols = Vec::new();
        for letter in &sig.letters {
            let place = sig.params.iter().zip(params).find_map(|(param, value)| match &param.kind {
                ParamKind::Tensor(declared) => Some((*value, axis_of(declared, letter)?)),
                _ => None,
            });
            match place {
                Some((param, axis)) => {
                    let value = self.declare(letter, Kind::Size, false);
                    symbols.push(Symbol { value, letter: letter.clone(), param, axis });
                }
                None => self.unbound.push(letter.clone()),
            }
        }
        symbols
    }

    fn body(&mut self, sig: &Signature, body: &syn::Block) -> Checked<Vec<ValueId>> {
        let want = match sig.tuple {
            true => Want::Tuple(sig.results.iter().map(|_| Want::One(None)).collect()),
            false => Want::One(None),
        };
        let operands = self.block(body, &want)?;
        Ok(operands.into_iter().map(|operand| self.tensor(operand, None)).collect())
    }

    /// The number of the next call or loop.
    fn site(&mut self) -> Site {
        self.sites += 1;
        Site(self.sites - 1)
    }

    /// A variable of the user's, from here to the end of its block.
    fn declare(&mut self, name: &Ident, kind: Kind, mutable: bool) -> ValueId {
        let value = self.named(name, kind);
        self.env.push(Local { name: name.clone(), value, mutable, state: false });
        value
    }

    /// A value under the user's name, or a numbered one where that is taken.
    fn named(&mut self, name: &Ident, kind: Kind) -> ValueId {
        let name = self.names.user(name);
        self.push_value(name, kind)
    }

    /// The result of a call: under the name it is bound to, or else called after the callee.
    fn result(&mut self, name: Option<&Ident>, callee: &Ident) -> ValueId {
        match name {
            Some(name) => self.named(name, Kind::Tensor),
            None => {
                let name = self.names.numbered(callee);
                self.push_value(name, Kind::Tensor)
            }
        }
    }

    fn push_value(&mut self, mut name: Ident, kind: Kind) -> ValueId {
        name.set_span(local(name.span()));
        self.values.push(ValueInfo { name, kind });
        ValueId(self.values.len() - 1)
    }

    fn kind(&self, value: ValueId) -> Kind {
        self.values[value.0].kind
    }

    fn lookup(&self, name: &Ident) -> Option<&Local> {
        self.env.iter().rev().find(|local| local.name == *name && !local.state)
    }

    /// The operand as a tensor; a number becomes one.
    fn tensor(&mut self, operand: Operand, name: Option<&Ident>) -> ValueId {
        match operand {
            Operand::Value(read) => read.value,
            Operand::Plain(plain) => {
                if matches!(plain.meaning, Meaning::Sizes(_)) {
                    self.errors.at(&plain.expr, "a list of sizes is no tensor: pass it to an operation");
                }
                let out = self.result(name, &format_ident!("number", span = Span::call_site()));
                self.stmts.push(Stmt::Number { plain, out: Some(out) });
                out
            }
        }
    }
}

/// The axis that is declared as `letter` alone, counted from the end behind `[N]`.
fn axis_of(declared: &Declared, letter: &Ident) -> Option<isize> {
    let dims = declared.dims.listed();
    let axis = dims.iter().position(|dim| matches!(dim, crate::parse::dims::Dim::Symbol(name) if name == letter))?;
    match declared.dims {
        Dims::Rest(..) => Some(axis as isize - dims.len() as isize),
        _ => Some(axis as isize),
    }
}
