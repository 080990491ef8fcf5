//! Expressions: what yields values.

use syn::spanned::Spanned;
use syn::{BinOp, Expr, UnOp};

use super::calls::last_name;
use super::plain::Fields;
use super::ssa::{Kind, Read, Stmt};
use super::{Lower, Operand, Want};
use crate::error::{Checked, Reported};
use crate::parse::dims::bare;

const NO_LIST: &str = "`[…]` takes apart the list that an operation such as `chunk` returns";

impl Lower<'_> {
    /// Lowers an expression that shall yield the wanted values, nested tuples laid flat.
    pub fn expr(&mut self, expr: &Expr, want: &Want) -> Checked<Vec<Operand>> {
        if self.is_checkpoint(expr)? {
            let operands = match expr {
                Expr::Call(call) => self.call(call, want),
                Expr::MethodCall(call) => self.method_call(call, want),
                other => Err(self.unsupported(other)),
            };
            return operands.map(|operands| self.checkpoint(operands));
        }
        match expr {
            Expr::Paren(paren) => return self.expr(&paren.expr, want),
            Expr::Group(group) => return self.expr(&group.expr, want),
            Expr::Block(block) if block.label.is_none() => return self.block(&block.block, want),
            Expr::Tuple(tuple) => return self.tuple(tuple, want),
            Expr::Call(call) if !self.is_plain(expr, Fields::Values) => return self.call(call, want),
            Expr::MethodCall(call) if !self.is_plain(expr, Fields::Values) => return self.method_call(call, want),
            Expr::ForLoop(source) => return self.for_loop(source, want),
            Expr::If(source) if !self.is_plain(expr, Fields::Values) => return self.if_expr(source, want),
            _ => {}
        }
        match want {
            Want::One(name) => Ok(vec![self.single(expr, *name)?]),
            Want::Tuple(wants) => {
                let message = format!("this is one value, and {} are expected", wants.len());
                Err(self.errors.at(expr, message))
            }
            Want::List(_) => Err(self.errors.at(expr, NO_LIST)),
        }
    }

    /// Lowers an expression that stands where one value is needed.
    pub fn one(&mut self, expr: &Expr) -> Checked<Operand> {
        self.expr(expr, &Want::One(None))?.pop().ok_or(Reported)
    }

    fn tuple(&mut self, tuple: &syn::ExprTuple, want: &Want) -> Checked<Vec<Operand>> {
        match want {
            Want::Tuple(wants) if wants.len() == tuple.elems.len() => {
                let elems = tuple.elems.iter().zip(wants);
                let operands: Vec<_> = elems.map(|(elem, want)| self.expr(elem, want)).collect();
                let operands = operands.into_iter().collect::<Checked<Vec<_>>>()?;
                Ok(operands.into_iter().flatten().collect())
            }
            Want::Tuple(wants) => {
                let message = format!("{} values, and {} are expected", tuple.elems.len(), wants.len());
                Err(self.errors.at(tuple, message))
            }
            Want::One(_) => {
                let message = "a tuple where one value is expected: take it apart with `let (a, b) = …`";
                Err(self.errors.at(tuple, message))
            }
            Want::List(_) => Err(self.errors.at(tuple, NO_LIST)),
        }
    }

    /// Everything that yields exactly one value.
    fn single(&mut self, expr: &Expr, name: Option<&syn::Ident>) -> Checked<Operand> {
        if let Expr::Array(array) = expr {
            if self.is_sizes(array) {
                return self.plain(expr).map(Operand::Plain);
            }
            return Err(self.errors.at(expr, "a list of tensors can only be an argument: write `concat([a, b], 1)`"));
        }
        if self.is_plain(expr, Fields::Values) {
            return self.plain(expr).map(Operand::Plain);
        }
        if self.is_field(expr) {
            return Ok(self.field(expr, name));
        }
        match expr {
            Expr::Path(path) if let Some(ident) = path.path.get_ident() => self.variable(ident),
            Expr::Unary(unary) => {
                let (op, span) = match unary.op {
                    UnOp::Neg(minus) => ("neg", minus.span),
                    UnOp::Not(not) => ("not", not.span),
                    _ => return Err(self.unsupported(expr)),
                };
                self.operator(op, span, &[&*unary.expr], name)
            }
            Expr::Binary(binary) => match operator(&binary.op) {
                Some(op) => self.operator(op, binary.op.span(), &[&*binary.left, &*binary.right], name),
                None => Err(self.unsupported(expr)),
            },
            other => Err(self.unsupported(other)),
        }
    }

    fn variable(&mut self, name: &syn::Ident) -> Checked<Operand> {
        match self.lookup(name).map(|local| local.value) {
            Some(value) if self.kind(value) == Kind::Tensor => Ok(Operand::Value(Read { value, span: name.span() })),
            _ if name == "self" => {
                Err(self.errors.at(name, "`self` is no value: read a field of it, or call a function of it"))
            }
            _ => {
                let message = format!("`{name}` is a network: call it, as in `{name}(x)`, or name a field of it");
                Err(self.errors.at(name, message))
            }
        }
    }

    fn field(&mut self, expr: &Expr, name: Option<&syn::Ident>) -> Operand {
        if let Some(value) = self.own_field(bare(expr)).and_then(|name| self.state(name)) {
            return Operand::Value(Read { value, span: expr.span() });
        }
        let place = self.verbatim(expr);
        let value = self.result(name, &last_name(&place.expr));
        self.stmts.push(Stmt::Field { place, out: Some(value) });
        Operand::Value(Read { value, span: expr.span() })
    }
}

/// The operation behind a binary operator.
fn operator(op: &BinOp) -> Option<&'static str> {
    Some(match op {
        BinOp::Add(_) => "add",
        BinOp::Sub(_) => "sub",
        BinOp::Mul(_) => "mul",
        BinOp::Div(_) => "div",
        BinOp::Lt(_) => "lt",
        BinOp::Le(_) => "le",
        BinOp::Gt(_) => "gt",
        BinOp::Ge(_) => "ge",
        BinOp::Eq(_) => "eq",
        BinOp::Ne(_) => "ne",
        BinOp::And(_) | BinOp::BitAnd(_) => "and",
        BinOp::Or(_) | BinOp::BitOr(_) => "or",
        _ => return None,
    })
}
