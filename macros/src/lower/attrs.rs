//! Attributes within a body: `#[checkpoint]` in front of a call.

use syn::{Attribute, Expr};

use super::plain::Fields;
use super::ssa::Stmt;
use super::{Lower, Operand};
use crate::error::Checked;

pub const CHECKPOINT: &str = "`#[checkpoint]` goes in front of a call: `let y = #[checkpoint] self.block(x);`";

impl Lower<'_> {
    /// Whether a call is to be computed again for its gradient; refuses all other attributes.
    pub fn is_checkpoint(&mut self, expr: &Expr) -> Checked<bool> {
        let attrs = attributes(expr);
        let Some(attr) = attrs.first() else { return Ok(false) };
        if attrs.len() > 1 || attr.meta.require_path_only().is_err() || !attr.path().is_ident("checkpoint") {
            return Err(self.errors.at(attr, "the only attribute in a body is `#[checkpoint]`, in front of a call"));
        }
        if !matches!(expr, Expr::Call(_) | Expr::MethodCall(_)) || self.is_plain(expr, Fields::Values) {
            return Err(self.errors.at(attr, CHECKPOINT));
        }
        Ok(true)
    }

    /// Marks the call that was lowered last.
    pub fn checkpoint(&mut self, operands: Vec<Operand>) -> Vec<Operand> {
        if let Some(Stmt::Call(call)) = self.stmts.last_mut() {
            call.checkpoint = true;
        }
        operands
    }
}

/// The attributes of the expressions that a body has.
pub fn attributes(expr: &Expr) -> &[Attribute] {
    match expr {
        Expr::Array(expr) => &expr.attrs,
        Expr::Assign(expr) => &expr.attrs,
        Expr::Binary(expr) => &expr.attrs,
        Expr::Block(expr) => &expr.attrs,
        Expr::Call(expr) => &expr.attrs,
        Expr::Cast(expr) => &expr.attrs,
        Expr::Field(expr) => &expr.attrs,
        Expr::ForLoop(expr) => &expr.attrs,
        Expr::If(expr) => &expr.attrs,
        Expr::Index(expr) => &expr.attrs,
        Expr::Lit(expr) => &expr.attrs,
        Expr::MethodCall(expr) => &expr.attrs,
        Expr::Paren(expr) => &expr.attrs,
        Expr::Path(expr) => &expr.attrs,
        Expr::Tuple(expr) => &expr.attrs,
        Expr::Unary(expr) => &expr.attrs,
        _ => &[],
    }
}
