//! Assigning the state of a network, and what the assignments of a step come to.

use std::collections::HashMap;

use super::admitted;
use crate::graph::{Stage, Updates, Value, Var};
use crate::network::State;
use crate::shape::check::{Check, Message, Type};

/// `assigned(old, new)`:
/// What `self.mean = x` leaves in `self.mean` for the rest of the body: the new value, without a gradient.
#[doc(hidden)]
#[allow(non_camel_case_types)]
pub enum assigned {}

impl assigned {
    /// Stages the new value.
    pub fn stage(g: &mut Stage, old: impl Into<Value>, new: impl Into<Value>) -> Value {
        let args = [old.into(), new.into()];
        let [old, new] = args.map(|value| g.ty(value));
        admitted(g, |cx| Self::shape(cx, old, new), &args[1..], |_, v| v[0])
    }

    /// The shape rule: a state keeps its shape.
    #[track_caller]
    pub const fn shape(cx: &mut Check, old: Type, new: Type) -> Type {
        let Some(new) = new.operand(cx, "a state") else { return Type::Unknown };
        let Type::Tensor(old) = old else { return Type::Unknown };
        if !old.dtype.same(new.dtype) {
            return cx.error(Message::new().str("a state: expected Tensor, found ").str(new.dtype.name()));
        }
        if !old.shape.same(&new.shape) {
            let message = Message::new().str("a state of shape ").shape(old.shape);
            return cx.error(message.str(" is assigned ").shape(new.shape));
        }
        Type::Tensor(new.cut())
    }
}

impl Stage {
    /// From here on assignments to states count.
    pub(crate) fn start_updates(&mut self) {
        self.updates = Some(Updates::new());
    }

    /// The values assigned so far. Those of functions that are staged again for their gradient do not
    /// count.
    pub(crate) fn take_updates(&mut self) -> Updates {
        self.updates.take().unwrap_or_default()
    }

    /// At the end of a network function: what the states that it assigns have become. `inputs` are the
    /// function's own.
    ///
    /// The values were computed from the states before the step. If the network has run before in the
    /// same step, they are computed again from what it left; the inputs are as they are.
    #[doc(hidden)]
    pub fn update(&mut self, new: &[(&State, Value)], inputs: &[Value]) {
        let Some(before) = self.updates.take() else { return };
        let mut after = before.clone();
        let vars = inputs.iter().filter_map(|input| if let Value::Var(v) = input { Some((*v, *v)) } else { None });
        let mut replaced: HashMap<Var, Var> = vars.collect();
        for (state, _) in new {
            if let Some(&left) = before.get(&state.id()) {
                replaced.insert(self.param(state.id(), state.sizes()), left);
            }
        }
        let again = new.iter().any(|(state, _)| before.contains_key(&state.id()));
        for (state, value) in new {
            if let Some(v) = self.operand(*value) {
                after.insert(state.id(), if again { self.replace(v, &mut replaced) } else { v });
            }
        }
        self.updates = Some(after);
    }

    /// `v` computed from other values in place of those that are `replaced`.
    fn replace(&mut self, v: Var, replaced: &mut HashMap<Var, Var>) -> Var {
        if let Some(&new) = replaced.get(&v) {
            return new;
        }
        let node = self[v].clone();
        let args: Vec<Var> = node.args.iter().map(|&arg| self.replace(arg, replaced)).collect();
        let new = if args == node.args { v } else { self.push(node.op, args, node.shape, node.dtype) };
        replaced.insert(v, new);
        new
    }
}
