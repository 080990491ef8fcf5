//! Calls of operations in the order in which a case makes them, so that their gradients can be
//! staged in reverse.

use downhill::graph::Var;
use downhill::prelude::*;

/// A value of a tape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct T(usize);

type Backward = Box<dyn Fn(&mut Stage, &[Value], &[Grad]) -> Vec<Grad>>;

/// A graph, and the calls that were staged into it.
#[derive(Default)]
pub struct Tape {
    pub g: Stage,
    values: Vec<Value>,
    calls: Vec<(Vec<T>, Vec<T>, Backward)>,
}

impl Tape {
    pub fn push(&mut self, value: impl Into<Value>) -> T {
        self.values.push(value.into());
        T(self.values.len() - 1)
    }

    pub fn value(&self, x: T) -> Value {
        self.values[x.0]
    }

    pub fn var(&mut self, x: T) -> Var {
        match self.value(x) {
            Value::Var(v) => v,
            Value::Number(x) => self.g.number(x),
            other => panic!("no tensor: {other:?}: {:?}", self.g.error()),
        }
    }

    pub fn shape(&self, x: T) -> Vec<usize> {
        match self.value(x) {
            Value::Var(v) => self.g.graph()[v].shape.clone(),
            Value::Unknown => panic!("refused: {}", self.g.error().unwrap_or_default()),
            _ => vec![],
        }
    }

    pub fn rank(&self, x: T) -> usize {
        self.shape(x).len()
    }

    /// A call of an operation: how it is staged, and its gradient.
    pub fn call(
        &mut self,
        args: &[T],
        stage: impl Fn(&mut Stage, &[Value]) -> Value,
        grad: impl Fn(&mut Stage, &[Value], Grad) -> Vec<Grad> + 'static,
    ) -> T {
        let stage = |g: &mut Stage, v: &[Value]| vec![stage(g, v)];
        self.call_list(args, stage, move |g, v, d| grad(g, v, d[0]))[0]
    }

    /// A call of an operation with several results.
    pub fn call_list(
        &mut self,
        args: &[T],
        stage: impl Fn(&mut Stage, &[Value]) -> Vec<Value>,
        grad: impl Fn(&mut Stage, &[Value], &[Grad]) -> Vec<Grad> + 'static,
    ) -> Vec<T> {
        let values: Vec<Value> = args.iter().map(|&x| self.value(x)).collect();
        let outs: Vec<T> = stage(&mut self.g, &values).into_iter().map(|out| self.push(out)).collect();
        self.calls.push((args.to_vec(), outs.clone(), Box::new(grad)));
        outs
    }

    /// The gradients of values, given those of results.
    pub fn backward(&mut self, results: &[(T, Var)]) -> Vec<Grad> {
        let mut grads: Vec<Grad> = vec![None; self.values.len()];
        for &(x, d) in results {
            grads[x.0] = self.g.add(grads[x.0], Some(d));
        }
        for (args, outs, backward) in self.calls.iter().rev() {
            let douts: Vec<Grad> = outs.iter().map(|out| grads[out.0]).collect();
            if douts.iter().all(Option::is_none) {
                continue;
            }
            let values: Vec<Value> = args.iter().map(|x| self.values[x.0]).collect();
            for (x, d) in args.iter().zip(backward(&mut self.g, &values, &douts)) {
                grads[x.0] = self.g.add(grads[x.0], d);
            }
        }
        grads
    }

    pub fn grad_of(grads: &[Grad], x: T) -> Grad {
        grads[x.0]
    }
}

/// What the gradient function of an operation returns.
pub trait Grads {
    fn list(self) -> Vec<Grad>;
}

impl Grads for Grad {
    fn list(self) -> Vec<Grad> {
        vec![self]
    }
}

macro_rules! tuples {
    ($($($name:ident)+;)*) => {$(
        impl Grads for ($(tuples!(@ $name),)+) {
            fn list(self) -> Vec<Grad> {
                #[allow(non_snake_case)]
                let ($($name,)+) = self;
                vec![$($name),+]
            }
        }
    )*};
    (@ $name:ident) => { Grad };
}
tuples! {
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}

/// The same for operations on lists of tensors, whose length a type knows: `$body` with `$N` as the number
/// `$n`, which is at most ten.
macro_rules! of_length {
    ($n:expr, $N:ident => $body:expr) => {{
        macro_rules! with {
            ($count:literal) => {{
                const $N: usize = $count;
                $body
            }};
        }
        match $n {
            1 => with!(1),
            2 => with!(2),
            3 => with!(3),
            4 => with!(4),
            5 => with!(5),
            6 => with!(6),
            7 => with!(7),
            8 => with!(8),
            9 => with!(9),
            10 => with!(10),
            n => panic!("a list of {n} tensors"),
        }
    }};
}

/// `op!(t, name(x, y; plain))`: a call of an operation, first tensors, then plain arguments.
macro_rules! op {
    ($t:expr, $op:ident($($x:expr),* $(; $($p:expr),*)?)) => {{
        let args = [$($x),*];
        op!(@ $t, $op, args, [$($x),*], [$($($p),*)?])
    }};
    (@ $t:expr, $op:ident, $args:ident, [$a:expr], [$($p:expr),*]) => {
        $t.call(&$args, move |g, v| $op::stage(g, v[0], $($p),*), move |g, v, d| $op::grad(g, v[0], $($p,)* d).list())
    };
    (@ $t:expr, $op:ident, $args:ident, [$a:expr, $b:expr], [$($p:expr),*]) => {
        $t.call(&$args, move |g, v| $op::stage(g, v[0], v[1], $($p),*), move |g, v, d| $op::grad(g, v[0], v[1], $($p,)* d).list())
    };
    (@ $t:expr, $op:ident, $args:ident, [$a:expr, $b:expr, $c:expr], [$($p:expr),*]) => {
        $t.call(
            &$args,
            move |g, v| $op::stage(g, v[0], v[1], v[2], $($p),*),
            move |g, v, d| $op::grad(g, v[0], v[1], v[2], $($p,)* d).list(),
        )
    };
    (@ $t:expr, $op:ident, $args:ident, [$a:expr, $b:expr, $c:expr, $d:expr], [$($p:expr),*]) => {
        $t.call(
            &$args,
            move |g, v| $op::stage(g, v[0], v[1], v[2], v[3], $($p),*),
            move |g, v, d| $op::grad(g, v[0], v[1], v[2], v[3], $($p,)* d).list(),
        )
    };
}
