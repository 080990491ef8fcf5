//! What a network function cannot contain, and what to write instead.

use syn::Expr;

use super::Lower;
use crate::error::Reported;

pub const MACRO: &str = "a macro inside a network function: write the operations out";

impl Lower<'_> {
    /// Reports a construct that network functions do not have.
    pub fn unsupported(&mut self, expr: &Expr) -> Reported {
        self.errors.at(expr, advice(expr))
    }
}

fn advice(expr: &Expr) -> &'static str {
    match expr {
        Expr::Assign(_) => "an assignment is a statement of its own: end it with `;`",
        Expr::Async(_) | Expr::Await(_) => "a network function cannot wait: do it outside",
        Expr::Binary(_) => "tensors do not have this operator: they have `+ - * /`, comparisons, `!`, `&` and `|`",
        Expr::Break(_) | Expr::Continue(_) => {
            "`break` and `continue` are not supported: a `for` runs over the whole array"
        }
        Expr::Cast(_) => "`as` on a tensor: write `float(x)` or `integer(x)`",
        Expr::Closure(_) => "a closure inside a network function: write a `#[network] fn`",
        Expr::Const(_) => "a `const` block inside a network function: write a `const` item outside",
        Expr::Field(_) => "only networks have fields: `self.weight`, `block.weight`",
        Expr::If(_) => "an `if` cannot stand here: bind it with `let`",
        Expr::Index(_) => "indexing a tensor: write `slice` or `gather`",
        Expr::Infer(_) => "`_` is no value",
        Expr::Let(_) => "`let` in an expression: make it a statement",
        Expr::Lit(_) => "only numbers and truth values are constants of a network function",
        Expr::Loop(_) | Expr::While(_) => {
            "`while` and `loop` are not supported: write `for block in &self.blocks` over an array of networks"
        }
        Expr::Macro(_) => MACRO,
        Expr::Match(_) => "`match` is not supported: write `if` on a constant",
        Expr::Range(_) => "a range inside a network function: write the bounds as arguments, as in `slice`",
        Expr::Reference(_) | Expr::RawAddr(_) => {
            "a reference inside a network function: write the value itself, values are copied"
        }
        Expr::Repeat(_) => "`[x; n]` is not supported: write the elements out",
        Expr::Return(_) => "`return` is not supported: end the function with its value",
        Expr::Struct(_) => "a struct inside a network function: return a tuple of tensors",
        Expr::Try(_) | Expr::TryBlock(_) => "`?` is not supported: shapes are checked before a network function runs",
        Expr::Unary(_) => "`*` on a tensor: write the value itself, values are copied",
        Expr::Unsafe(_) => "`unsafe` inside a network function: write an operation outside",
        Expr::Yield(_) => "`yield` is not supported: end the function with its value",
        _ => {
            "this expression is not supported in a network function: it has calls, arithmetic, `let`, tuples, `for` over networks or slices and `if` on constants"
        }
    }
}
