//! Random programs, staged through the public interface: most arguments fit, some do not.

use downhill::check::{Check, Type};
use downhill::graph::{Rows, Var};
use downhill::init::Init;
use downhill::network::Param;
use downhill::ops::elementwise::{Binary, Compare, Unary};
use downhill::ops::reduce::Reduce;
use downhill::prelude::*;
use downhill::shape::DType;

use super::dice::Dice;
use super::operations::{Grade, Kind, OPERATIONS, Operation};

/// Sizes whose products wrap, or are more than any memory.
const HUGE: [usize; 8] = [1 << 31, 1 << 32, 1 << 40, 1 << 61, 1 << 62, 1 << 63, usize::MAX, (1 << 60) + 1];

/// Whole numbers that are no place, size or axis of anything.
const WILD: [isize; 12] = [-1, -3, 0, 9, 64, 1000, 1 << 31, 1 << 33, 1 << 62, isize::MAX, isize::MIN, isize::MIN + 1];

/// Elements of a value that further operations use.
const SMALL: usize = 2048;

/// A value of a program.
#[derive(Clone, Copy)]
pub struct Made {
    pub var: Var,
    /// `Jumps` stands for values that cannot be compared.
    pub grade: Grade,
}

/// An input of a program.
pub enum Data {
    Numbers(Tensor),
    Indices(Index),
}

/// An operation that was staged, and what of.
pub struct Staged {
    pub operation: &'static Operation,
    pub arguments: Vec<Value>,
    pub out: Var,
    /// The result as others read it: changed by noise, if there is any.
    pub read: Var,
}

pub struct Maker<'g> {
    pub g: &'g mut Stage,
    pub values: Vec<Made>,
    pub inputs: Vec<Data>,
    /// The named operations in order.
    pub staged: Vec<Staged>,
    dice: Dice,
    /// Makes all results a little different.
    noise: Option<Dice>,
    /// One argument of so many fits nothing.
    reckless: usize,
    /// Values of another graph.
    foreign: Vec<Var>,
}

impl<'g> Maker<'g> {
    /// The program of a seed. With `noise` each number of each result is changed by one part in 10^6, as rounding may
    /// change it; the program is the same but for that.
    pub fn new(g: &'g mut Stage, seed: u64, noise: Option<u64>) -> Maker<'g> {
        let mut maker = Maker::empty(g, seed);
        maker.noise = noise.map(Dice::new);
        maker.reckless = maker.dice.one(&[usize::MAX, usize::MAX, 60, 12]);
        for _ in 0..1 + maker.dice.below(3) {
            maker.input();
        }
        if maker.values.is_empty() {
            // All inputs are too large.
            let var = maker.g.number(1.0);
            maker.values.push(Made { var, grade: Grade::Exact });
        }
        for _ in 0..1 + maker.dice.below(20) {
            maker.step();
        }
        maker
    }

    /// Some operations that fit, of these values.
    pub fn of(g: &'g mut Stage, seed: u64, values: &[Var], noise: Option<u64>) -> Maker<'g> {
        let mut maker = Maker::empty(g, seed);
        maker.noise = noise.map(Dice::new);
        maker.values.extend(values.iter().map(|&var| Made { var, grade: Grade::Smooth }));
        for _ in 0..maker.dice.below(12) {
            maker.operation();
        }
        maker
    }

    fn empty(g: &'g mut Stage, seed: u64) -> Maker<'g> {
        let mut other = Stage::new();
        let foreign = (0..400).map(|i| other.number(i as f64)).collect();
        let (values, inputs, staged) = (vec![], vec![], vec![]);
        Maker { g, values, inputs, staged, dice: Dice::new(seed), noise: None, reckless: usize::MAX, foreign }
    }

    /// Values that a program may give.
    pub fn roots(&mut self) -> Vec<Made> {
        let count = 1 + self.dice.below(3);
        let (len, recent) = (self.values.len(), self.dice.below(3) > 0);
        let from = if recent { len.saturating_sub(4) } else { 0 };
        let mut roots: Vec<Made> = (0..count).map(|_| self.values[from + self.dice.below(len - from)]).collect();
        if self.is_wild() && self.dice.once_in(4) {
            roots.push(Made { var: self.dice.one(&self.foreign), grade: Grade::Jumps });
        }
        roots
    }

    fn is_wild(&mut self) -> bool {
        self.reckless < usize::MAX && self.dice.once_in(self.reckless)
    }

    fn shape(&mut self) -> Vec<usize> {
        let rank = self.dice.one(&[0, 1, 1, 2, 2, 2, 3, 3, 4]);
        let mut shape: Vec<usize> = (0..rank).map(|_| self.size()).collect();
        while shape.iter().product::<usize>() > SMALL {
            shape.pop();
        }
        if self.is_wild() {
            for _ in 0..1 + self.dice.below(10) {
                let size = if self.dice.once_in(2) { self.dice.one(&HUGE) } else { self.size() };
                shape.push(size);
            }
        }
        shape
    }

    fn size(&mut self) -> usize {
        let any = 1 + self.dice.below(9);
        if self.is_wild() { 0 } else { self.dice.one(&[1, 2, 3, 4, any, any, 16, 17, 33]) }
    }

    fn input(&mut self) {
        let shape = self.shape();
        let len = shape.iter().try_fold(1, |len: usize, &size| len.checked_mul(size)).filter(|&len| len <= SMALL);
        let slot = if self.is_wild() { self.dice.one(&[0, 1, 7, usize::MAX]) } else { self.inputs.len() };
        let (dtype, grade) = match self.dice.below(4) {
            0 => (DType::I32, Grade::Exact),
            1 => (DType::F32, Grade::Exact),
            _ => (DType::F32, Grade::Smooth),
        };
        let bool = self.is_wild() && self.dice.once_in(3);
        let var = self.g.input(slot, &shape, if bool { DType::Bool } else { dtype });
        if let Some(len) = len {
            let wild = self.is_wild();
            let below = self.dice.one(&[1, 2, 3, 5]);
            let (dice, shape) = (&mut self.dice, shape.clone());
            let whole = |dice: &mut Dice| dice.below(below) as i32;
            let data = match (dtype, grade) {
                (DType::I32, _) => {
                    let mut data: Vec<i32> = (0..len).map(|_| whole(dice)).collect();
                    if wild && len > 0 {
                        let at = dice.below(len);
                        data[at] = dice.one(&[-1, -100, 1000, i32::MAX, i32::MIN]);
                    }
                    Index::new(shape, data).map(Data::Indices)
                }
                (_, Grade::Exact) => {
                    let data: Vec<f32> = (0..len).map(|_| dice.between(-4, 4) as f32).collect();
                    Tensor::new(shape, data).map(Data::Numbers)
                }
                _ => {
                    let mut data: Vec<f32> = (0..len).map(|_| 2.0 * dice.number() as f32).collect();
                    if wild && len > 0 {
                        let at = dice.below(len);
                        data[at] = dice.one(&[f32::NAN, f32::INFINITY, -f32::INFINITY, 1e-40, 3e38]);
                    }
                    Tensor::new(shape, data).map(Data::Numbers)
                }
            };
            // None has so many axes.
            self.inputs.extend(data);
        }
        self.keep(Value::Var(var), grade);
    }

    /// Adds a result to the values, if there is one that can be used further. Gives what was added.
    fn keep(&mut self, value: Value, grade: Grade) -> Option<Var> {
        let Value::Var(var) = value else { return None };
        if self.foreign_to_graph(var) {
            return None;
        }
        let node = &self.g[var];
        let len = node.shape.iter().try_fold(1, |len: usize, &size| len.checked_mul(size));
        let small = len.is_some_and(|len| len <= SMALL);
        let (shape, float) = (node.shape.clone(), node.dtype == DType::F32);
        if !small && !self.is_wild() {
            return None;
        }
        let mut var = var;
        if let Some(noise) = &mut self.noise
            && small
            && float
        {
            let data: Vec<f32> = (0..len.unwrap_or(0)).map(|_| 1.0 + 1e-6 * noise.number() as f32).collect();
            if let Ok(factors) = Tensor::new(shape, data) {
                let factors = self.g.constant(&factors);
                if let Value::Var(changed) = mul::stage(self.g, var, factors) {
                    var = changed;
                }
            }
        }
        self.values.push(Made { var, grade });
        Some(var)
    }

    fn foreign_to_graph(&self, var: Var) -> bool {
        self.g.graph().vars().last().is_none_or(|(last, _)| var > last)
    }

    /// A value of some type, most of them recent.
    fn pick(&mut self, dtype: DType) -> Made {
        if self.is_wild() {
            let any = match self.dice.below(4) {
                0 => self.dice.one(&self.foreign),
                _ => self.dice.one(&self.values).var,
            };
            return Made { var: any, grade: Grade::Jumps };
        }
        let g = &*self.g;
        let fitting: Vec<Made> = self.values.iter().copied().filter(|made| g[made.var].dtype == dtype).collect();
        if fitting.is_empty() {
            let shape = self.shape();
            let made = match dtype {
                DType::F32 => Made { var: self.g.fill(1.0, &shape), grade: Grade::Exact },
                DType::I32 => Made { var: self.g.iota(3), grade: Grade::Exact },
                DType::Bool => {
                    let zero = self.g.fill(0.0, &shape);
                    Made { var: self.g.compare(Compare::Eq, zero, zero), grade: Grade::Exact }
                }
            };
            self.values.push(made);
            return made;
        }
        let recent = self.dice.below(2) * fitting.len().saturating_sub(3);
        fitting[recent + self.dice.below(fitting.len() - recent)]
    }

    fn shape_of(&self, var: Var) -> Vec<usize> {
        if self.foreign_to_graph(var) { vec![] } else { self.g[var].shape.clone() }
    }

    /// A mask that broadcasts with a value.
    fn mask(&mut self, x: Var) -> Made {
        if self.is_wild() {
            return self.pick(DType::Bool);
        }
        let (a, b) = (self.like(x), self.like(x));
        let var = self.g.compare(Compare::Lt, a.var, b.var);
        let grade = if a.grade.max(b.grade) == Grade::Exact { Grade::Exact } else { Grade::Jumps };
        Made { var, grade }
    }

    /// A value of the same shape, or one that broadcasts with it.
    fn like(&mut self, x: Var) -> Made {
        let shape = self.shape_of(x);
        let g = &*self.g;
        let fits = |made: &&Made| {
            let node = &g[made.var];
            let tail = shape.iter().rev().zip(node.shape.iter().rev());
            node.dtype == DType::F32
                && node.shape.len() <= shape.len()
                && tail.fold(true, |all, (a, b)| all && (a == b || *b == 1))
        };
        let fitting: Vec<Made> = self.values.iter().filter(fits).copied().collect();
        if fitting.is_empty() || self.dice.once_in(6) {
            let number = self.dice.between(-3, 3) as f64;
            return Made { var: self.g.number(number), grade: Grade::Exact };
        }
        self.dice.one(&fitting)
    }

    fn int(&mut self, low: isize, high: isize) -> isize {
        if self.is_wild() { self.dice.one(&WILD) } else { self.dice.between(low, high) }
    }

    fn places(&mut self, low: isize, high: isize) -> usize {
        let n = self.int(low, high);
        if n < 0 && self.is_wild() { n as usize } else { n.unsigned_abs() }
    }

    fn axis(&mut self, shape: &[usize]) -> usize {
        self.places(0, shape.len() as isize - 1)
    }

    /// A value between two numbers, for functions that end there: close to an end they tell more of rounding than of
    /// the value.
    fn between(&mut self, x: Var, low: f64, high: f64) -> Value {
        let x = sigmoid::stage(self.g, x);
        let x = mul::stage(self.g, x, high - low);
        add::stage(self.g, x, low)
    }

    /// Anything that an argument can be.
    fn anything(&mut self) -> Value {
        match self.dice.below(8) {
            0 => Value::Unknown,
            1 => Value::Int(self.dice.one(&WILD)),
            2 => Value::Number(self.dice.one(&[0.0, -1.5, 1e300, f64::NAN, f64::INFINITY])),
            3 => Value::Bool(self.dice.once_in(2)),
            4 => {
                let mut list = [0; 8];
                list.iter_mut().for_each(|n| *n = self.dice.one(&WILD));
                Value::Ints { list, len: self.dice.below(9) }
            }
            5 => Value::Var(self.dice.one(&self.foreign)),
            _ => Value::Var(self.dice.one(&self.values).var),
        }
    }

    fn list(&mut self, numbers: &[isize]) -> Value {
        let mut list = [0; 8];
        list.iter_mut().zip(numbers).for_each(|(to, n)| *to = *n);
        Value::Ints { list, len: numbers.len().min(8) }
    }

    /// An argument of an operation whose first tensor is `x`, and how exact it is.
    fn argument(&mut self, kind: Kind, x: Var) -> (Value, Grade) {
        if self.is_wild() {
            return (self.anything(), Grade::Jumps);
        }
        let shape = self.shape_of(x);
        let rank = shape.len() as isize;
        let value = match kind {
            Kind::X => return (Value::Var(x), Grade::Exact),
            Kind::P => return (self.between(x, 0.1, 0.9), Grade::Smooth),
            Kind::Y => {
                let made = self.like(x);
                return (Value::Var(made.var), made.grade);
            }
            Kind::I | Kind::M => {
                let made = if kind == Kind::I { self.pick(DType::I32) } else { self.mask(x) };
                return (Value::Var(made.var), made.grade);
            }
            Kind::A => Value::Int(self.int(-rank, rank - 1)),
            Kind::L => {
                let mut axes: Vec<isize> = (0..rank).collect();
                for i in (1..axes.len()).rev() {
                    axes.swap(i, self.dice.below(i + 1));
                }
                if self.dice.once_in(2) {
                    axes.truncate(1 + self.dice.below(axes.len()));
                }
                self.list(&axes)
            }
            Kind::S => {
                let sizes: Vec<isize> = self.sizes(&shape).into_iter().map(|n| n as isize).collect();
                self.list(&sizes)
            }
            Kind::N => Value::Int(self.int(0, 4)),
            Kind::F => Value::Number(self.dice.one(&[0.1, 0.5, 1.0, 2.0])),
            Kind::B => Value::Bool(self.dice.once_in(2)),
        };
        (value, Grade::Exact)
    }

    /// Other sizes of as many elements.
    fn sizes(&mut self, shape: &[usize]) -> Vec<usize> {
        let mut sizes = shape.to_vec();
        for _ in 0..2 {
            if self.dice.once_in(2) && sizes.len() > 1 {
                let at = self.dice.below(sizes.len() - 1);
                let next = sizes.remove(at + 1);
                sizes[at] = sizes[at].saturating_mul(next);
            } else if sizes.len() < 7 {
                let at = self.dice.below(sizes.len() + 1);
                let split = sizes.get(at).copied().filter(|n| n % 2 == 0 && *n > 0);
                if let Some(n) = split {
                    sizes[at] = n / 2;
                }
                sizes.insert(at, if split.is_some() { 2 } else { 1 });
            }
        }
        sizes
    }

    fn step(&mut self) {
        match self.dice.below(20) {
            0 => self.input(),
            1..=8 => self.method(),
            _ => self.operation(),
        }
    }

    /// Arguments of a named operation, and how exact they are.
    fn arguments(&mut self, operation: &Operation) -> (Vec<Value>, Grade) {
        let x = self.pick(DType::F32);
        let (mut first, mut grade) = (true, x.grade);
        let mut values = Vec::new();
        for &kind in operation.kinds {
            // The second of two tensors is often another one.
            let again = kind == Kind::X && !std::mem::take(&mut first);
            let of = if again && self.dice.once_in(2) { self.pick(DType::F32) } else { x };
            let (value, of_it) = self.argument(kind, of.var);
            values.push(value);
            grade = grade.max(of_it).max(if kind == Kind::X { of.grade } else { Grade::Exact });
        }
        (values, grade)
    }

    /// Whether the shape rule of an operation admits the arguments.
    fn fits(&self, operation: &Operation, values: &[Value]) -> bool {
        let types: Vec<Type> = values.iter().map(|&value| self.g.ty(value)).collect();
        let mut cx = Check::record();
        (operation.shape)(&mut cx, &types);
        cx.errors() == 0
    }

    /// One of the named operations, and sometimes its gradients.
    fn operation(&mut self) {
        let mut choose = || {
            let operation: &'static Operation = &OPERATIONS[self.dice.below(OPERATIONS.len())];
            let (values, grade) = self.arguments(operation);
            let fits = self.reckless < usize::MAX && self.dice.once_in(4) || self.fits(operation, &values);
            fits.then_some((operation, values, grade))
        };
        let Some((operation, values, grade)) = (0..6).find_map(|_| choose()) else { return };
        let result = |grade: Grade| match (operation.grade, grade) {
            (Grade::Jumps, Grade::Exact) => Grade::Exact,
            (a, b) => a.max(b),
        };
        let out = (operation.stage)(self.g, &values);
        let kept: Vec<Option<Var>> = out.iter().map(|&value| self.keep(value, result(grade))).collect();
        let staged = out.first().and_then(|&value| match value {
            Value::Var(v) if !self.foreign_to_graph(v) => Some(v),
            _ => None,
        });
        if let Some(out) = staged {
            let read = kept[0].unwrap_or(out);
            self.staged.push(Staged { operation, arguments: values.clone(), out, read });
        }
        if staged.is_none() && self.reckless < usize::MAX {
            let dout = self.pick(DType::F32).var;
            let grads = (operation.grad)(self.g, &values, Some(dout));
            grads.into_iter().flatten().for_each(|d| _ = self.keep(Value::Var(d), Grade::Jumps));
        }
        if self.dice.once_in(3)
            && let Some(out) = staged
        {
            let shape = self.g[out].shape.clone();
            let dout = match self.is_wild() {
                true => self.pick(DType::F32).var,
                false => self.noise_of(&shape),
            };
            let grads = (operation.grad)(self.g, &values, Some(dout));
            // Where an operation jumps its gradient does, and that of an exact one is a product of others.
            let grade = if operation.grade == Grade::Jumps && grade > Grade::Exact { Grade::Jumps } else { grade };
            for d in grads.into_iter().flatten() {
                self.keep(Value::Var(d), grade.max(Grade::Smooth));
            }
        }
    }

    /// Numbers from -1 to 1.
    fn noise_of(&mut self, shape: &[usize]) -> Var {
        let len = shape.iter().try_fold(1, |len: usize, &size| len.checked_mul(size)).unwrap_or(usize::MAX);
        if len <= SMALL {
            let data: Vec<f32> = (0..len).map(|_| self.dice.number() as f32).collect();
            if let Ok(Value::Var(v)) = Tensor::new(shape, data).map(|data| self.g.constant(&data)) {
                return v;
            }
        }
        self.g.fill(0.5, shape)
    }

    /// A method of the graph itself.
    fn method(&mut self) {
        let x = self.pick(DType::F32);
        let shape = self.shape_of(x.var);
        let rank = shape.len();
        let g = |maker: &mut Maker, made: Var, grade: Grade| maker.keep(Value::Var(made), grade);
        match self.dice.below(30) {
            0 | 1 => {
                let op = self.dice.one(Unary::ALL);
                let own = match op {
                    Unary::Neg => Grade::Exact,
                    Unary::Abs | Unary::Floor => Grade::Jumps,
                    _ => Grade::Smooth,
                };
                let inside = match op {
                    Unary::Log
                    | Unary::Log1p
                    | Unary::Sqrt
                    | Unary::Asin
                    | Unary::Acos
                    | Unary::Atanh
                    | Unary::Erfinv => self.between(x.var, 0.1, 0.9),
                    Unary::Acosh => self.between(x.var, 1.1, 9.0),
                    _ => Value::Var(x.var),
                };
                let Value::Var(inside) = inside else { return };
                let out = self.g.unary(op, inside);
                let grade =
                    if own == Grade::Jumps && x.grade == Grade::Exact { Grade::Exact } else { own.max(x.grade) };
                g(self, out, grade);
            }
            2 | 3 => {
                let y = self.like(x.var);
                let op = self.dice.one(Binary::ALL);
                let base = if op == Binary::Pow { self.between(x.var, 0.1, 9.0) } else { Value::Var(x.var) };
                // Left of zero an angle jumps where the sign of a zero does.
                let other = if op == Binary::Atan2 { self.between(y.var, 0.1, 9.0) } else { Value::Var(y.var) };
                let (Value::Var(base), Value::Var(other)) = (base, other) else { return };
                let exact = matches!(op, Binary::Add | Binary::Sub | Binary::Mul | Binary::Max | Binary::Min);
                let out = self.g.binary(op, base, other);
                g(self, out, x.grade.max(y.grade).max(if exact { Grade::Exact } else { Grade::Smooth }));
            }
            4 => {
                let y = self.like(x.var);
                let op = self.dice.one(Compare::ALL);
                let out = self.g.compare(op, x.var, y.var);
                let both = x.grade.max(y.grade);
                g(self, out, if both == Grade::Exact { both } else { Grade::Jumps });
            }
            5 => {
                let (mask, y) = (self.mask(x.var), self.like(x.var));
                let out = self.g.select(mask.var, x.var, y.var);
                g(self, out, x.grade.max(y.grade).max(mask.grade));
            }
            6 => {
                let from = self.dice.one(&[DType::F32, DType::I32, DType::Bool]);
                let (x, to) = (self.pick(from), self.dice.one(&[DType::F32, DType::I32, DType::Bool]));
                let out = self.g.cast(x.var, to);
                g(self, out, if from == DType::F32 && x.grade > Grade::Exact { Grade::Jumps } else { x.grade });
            }
            7 => {
                let (index, count) = (self.pick(DType::I32), self.places(1, 6));
                let other = self.dice.one(&[None, None, Some(-100), Some(-1), Some(i32::MIN)]);
                let out = self.g.within(index.var, Rows { count, other });
                g(self, out, index.grade);
            }
            8 | 9 => {
                let mut axes = self.dice.bits() as u8;
                if !self.is_wild() {
                    axes &= ((1u16 << rank.min(8)) - 1) as u8;
                }
                let op = self.dice.one(Reduce::ALL);
                let out = self.g.reduce(op, x.var, axes);
                g(self, out, x.grade);
            }
            10 => {
                let sizes = if self.is_wild() { self.shape() } else { self.sizes(&shape) };
                let out = self.g.reshape(x.var, &sizes);
                g(self, out, x.grade);
            }
            11 => {
                let mut to = shape.clone();
                to.iter_mut().filter(|size| **size == 1).for_each(|size| *size = 1 + self.dice.below(4));
                (0..self.dice.below(2)).for_each(|_| to.insert(0, 1 + self.dice.below(3)));
                let to = if self.is_wild() { self.shape() } else { to };
                let out = self.g.broadcast(x.var, &to);
                g(self, out, x.grade);
            }
            12 => {
                let mut to = shape[self.dice.below(rank + 1)..].to_vec();
                to.iter_mut().filter(|_| self.dice.once_in(3)).for_each(|size| *size = 1);
                let to = if self.is_wild() { self.shape() } else { to };
                let out = self.g.unbroadcast(x.var, &to);
                g(self, out, x.grade);
            }
            13 | 14 => {
                let mut axes: Vec<usize> = (0..rank).collect();
                for i in (1..rank).rev() {
                    axes.swap(i, self.dice.below(i + 1));
                }
                if self.is_wild() {
                    axes = (0..self.dice.below(5)).map(|_| self.places(0, 4)).collect();
                }
                let out = self.g.transpose(x.var, &axes);
                g(self, out, x.grade);
            }
            15 | 16 => {
                let mut window = Vec::new();
                let mut to = Vec::new();
                for &size in &shape {
                    let step = self.int(-2, 3);
                    let n = 1 + self.dice.below(size.min(6));
                    let reach = (n as isize - 1).saturating_mul(step).max(isize::MIN + 1);
                    let high = (size as isize).saturating_sub(reach.max(0)).saturating_sub(1);
                    let low = (-reach).max(0);
                    if low > high && !self.is_wild() {
                        window.push((0, 1));
                        to.push(size);
                        continue;
                    }
                    window.push((self.places(low, high.max(low)), step));
                    to.push(n);
                }
                if self.is_wild() {
                    to.push(2);
                }
                let out = self.g.slice(x.var, &window, &to);
                g(self, out, x.grade);
            }
            17 if rank > 0 || self.reckless < usize::MAX => {
                let axis = self.axis(&shape);
                let n = shape.get(axis).copied().unwrap_or(3);
                let (size, dilation) = (self.places(1, 3), self.int(1, 2));
                let whole = (size as isize).saturating_sub(1).saturating_mul(dilation).saturating_add(1);
                let step = self.int(1, 3);
                let left = (n as isize).saturating_sub(whole);
                let (size, count) = match left < 0 && !self.is_wild() {
                    true => (1, 1),
                    false => (size, 1 + left.unsigned_abs() / step.unsigned_abs().max(1)),
                };
                let count = if self.is_wild() { self.places(0, 9) } else { count };
                let start = self.places(0, 0);
                let out = self.g.windows(x.var, axis, start, (count, step), (size, dilation));
                g(self, out, x.grade);
            }
            18 => {
                let before: Vec<usize> = shape.iter().map(|_| self.places(0, 2)).collect();
                let after: Vec<usize> = shape.iter().map(|_| self.places(0, 2)).collect();
                let sum = |((n, b), a): ((&usize, &usize), &usize)| n.saturating_add(*b).saturating_add(*a);
                let mut to: Vec<usize> = shape.iter().zip(&before).zip(&after).map(sum).collect();
                if self.is_wild() {
                    to = self.shape();
                }
                let out = self.g.pad(x.var, &before, &to);
                g(self, out, x.grade);
            }
            19 => {
                let count = self.dice.below(3);
                let mut parts = vec![x.var];
                for _ in 0..count {
                    let other = if self.is_wild() { self.pick(DType::F32).var } else { x.var };
                    parts.push(other);
                }
                if self.is_wild() && self.dice.once_in(3) {
                    parts.clear();
                }
                let axis = self.axis(&shape);
                if rank == 0 && self.reckless == usize::MAX {
                    return;
                }
                let out = self.g.concat(&parts, axis);
                g(self, out, x.grade);
            }
            20 | 21 => {
                let (ta, tb) = (self.dice.once_in(2), self.dice.once_in(2));
                if rank < 2 && self.reckless == usize::MAX {
                    return;
                }
                let y = if self.is_wild() || ta == tb { self.pick(DType::F32) } else { x };
                let (a, b) = (self.shape_of(x.var), self.shape_of(y.var));
                let inner = |s: &[usize], last: bool| s.len().checked_sub(1 + !last as usize).map(|i| s[i]);
                let fits = a.len() == b.len()
                    && rank >= 2
                    && a[..rank - 2] == b[..rank - 2]
                    && inner(&a, !ta) == inner(&b, tb);
                if fits || self.is_wild() {
                    let out = self.g.matmul(x.var, y.var, ta, tb);
                    g(self, out, x.grade.max(y.grade));
                }
            }
            22 => {
                // The same tensor twice: all of its axes are common, kept or summed.
                let letters: String = ('a'..).take(rank).collect();
                let kept: String = letters.chars().filter(|_| self.dice.once_in(2)).collect();
                let axes = match self.is_wild() {
                    true => {
                        self.dice.one(&["", "->", "a->a", "a,b->c", "aa,a->a", "a,a->aa", "ab,bc->ac", "é,é->é"]).into()
                    }
                    false => format!("{letters},{letters}->{kept}"),
                };
                let out = self.g.contract(x.var, x.var, &axes);
                g(self, out, x.grade);
            }
            23 | 24 => {
                let index = self.pick(DType::I32);
                if rank == 0 && self.reckless == usize::MAX {
                    return;
                }
                let rows = shape.first().copied().unwrap_or(1);
                let index = match self.dice.once_in(2) {
                    true => Made { var: self.g.within(index.var, Rows::below(rows)), ..index },
                    false => index,
                };
                let out = self.g.gather(x.var, index.var);
                g(self, out, x.grade.max(index.grade));
                if self.dice.once_in(2) {
                    let rows = self.places(rows as isize, 9);
                    let back = self.g.scatter_add(index.var, out, rows);
                    g(self, back, x.grade.max(index.grade));
                }
            }
            25 => {
                let n = if self.is_wild() { self.dice.one(&HUGE) } else { self.places(1, 9) };
                let out = self.g.iota(n);
                g(self, out, Grade::Exact);
            }
            26 => {
                let (to, number) = (self.shape(), self.dice.between(-3, 3) as f32);
                let number = if self.is_wild() { f32::NAN } else { number };
                let out = self.g.fill(number, &to);
                g(self, out, Grade::Exact);
            }
            27 => {
                let y = self.like(x.var);
                let sum = self.g.add(Some(x.var), self.dice.one(&[None, Some(y.var)]));
                if let Some(sum) = sum {
                    g(self, sum, x.grade.max(y.grade));
                }
            }
            28 if self.reckless < usize::MAX => self.odd(x.var),
            _ => {
                let grade = x.grade.max(Grade::Smooth);
                let mut scope = self.g.recompute(true);
                let a = scope.unary(Unary::Tanh, x.var);
                let b = scope.binary(Binary::Mul, a, x.var);
                drop(scope);
                g(self, b, grade);
            }
        }
    }

    /// What no function should do.
    fn odd(&mut self, x: Var) {
        let id = self.places(0, 3);
        match self.dice.below(8) {
            0 => {
                let sizes = self.shape();
                let out = self.g.param(id, &sizes);
                self.keep(Value::Var(out), Grade::Jumps);
            }
            1 => {
                let out = self.g.random_for(x);
                self.keep(Value::Var(out), Grade::Jumps);
            }
            2 => {
                let sizes = [self.dice.below(3), 2];
                let param = Param::new(&sizes, Init::Constant(0.0));
                let read = self.g.field(&param);
                self.keep(read, Grade::Jumps);
                self.g.accumulate(&param, Some(x));
            }
            3 => self.g.set_training(true),
            4 => {
                let value = self.anything();
                let axis = self.dice.one(&WILD);
                let _ = (self.g.dim(value, axis), self.g.ty(value));
            }
            5 => {
                let value = self.anything();
                let _ = self.g.value(value);
            }
            6 => {
                let (a, b) = (self.anything(), self.anything());
                let _: [Value; 3] = chunk::stage(self.g, a, b);
                let _: [Value; 2] = split::stage(self.g, a, b, 0);
                let _: [Value; 2] = unbind::stage(self.g, a, b);
                let stacked = stack::stage(self.g, [a, b], 0);
                self.keep(stacked, Grade::Jumps);
            }
            _ => {
                let (a, b) = (self.anything(), self.anything());
                let equation = self.dice.one(&["", "ij,jk->ik", "i,i->", "ii,i->i", "...i,i", "->", "i->i", "ij,ij"]);
                let out = einsum::stage(self.g, equation, [a, b]);
                self.keep(out, Grade::Jumps);
                let joined = concat::stage(self.g, [a, b, a], 0);
                self.keep(joined, Grade::Jumps);
            }
        }
    }
}
