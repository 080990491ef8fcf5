//! Update rules and operations of one's own that are wrong in every way that safe code can be.

use std::sync::atomic::{AtomicU64, Ordering};

use downhill::graph::Var;
use downhill::optim::Updated;
use downhill::prelude::*;
use downhill::shape::DType;

use super::dice::Dice;
use super::maker::Maker;

/// An update rule that says something else each time it is asked.
pub struct OddRule {
    seed: u64,
    calls: AtomicU64,
}

impl OddRule {
    pub fn new(seed: u64) -> OddRule {
        OddRule { seed, calls: AtomicU64::new(0) }
    }

    fn dice(&self) -> Dice {
        Dice::new(self.seed ^ self.calls.fetch_add(1, Ordering::Relaxed) << 32)
    }
}

impl Optimizer for OddRule {
    fn state(&self) -> &'static [&'static str] {
        self.dice().one(&[&[], &["a"], &["a", "a"], &["a", "b", "c"]])
    }

    fn numbers(&self) -> usize {
        self.dice().one(&[0, 1, 2, 3, 5, usize::MAX])
    }

    fn at(&self, step: u64, lr: f32, numbers: &mut [f32]) {
        let mut dice = self.dice();
        numbers.iter_mut().for_each(|number| *number = dice.one(&[lr, step as f32, f32::NAN, 0.0]));
    }

    fn lr(&self) -> f32 {
        self.dice().one(&[0.1, 0.1, 0.1, f32::NAN, -1.0])
    }

    fn update(&self, g: &mut Stage, weight: Value, grad: Value, state: &[Value], numbers: &[Value]) -> Updated {
        let mut dice = self.dice();
        let odd = dice.once_in(2);
        let weight = if odd { value(g, &mut dice, &[weight, grad]) } else { sub::stage(g, weight, grad) };
        let count = if odd { dice.below(4) } else { state.len() };
        let given = [state, numbers, &[weight, grad]].concat();
        let state = (0..count).map(|i| if odd { value(g, &mut dice, &given) } else { state[i] }).collect();
        Updated { weight, state }
    }
}

/// Anything that safe code can give for a value.
pub fn value(g: &mut Stage, dice: &mut Dice, given: &[Value]) -> Value {
    match dice.below(9) {
        0 => Value::Unknown,
        1 => Value::Number(1.0),
        2 => {
            let mut other = Stage::new();
            let vars: Vec<Var> = (0..99).map(|i| other.number(i as f64)).collect();
            Value::Var(dice.one(&vars))
        }
        3 => {
            let (slot, size) = (dice.one(&[0, 1, 2, 3, 9, usize::MAX]), dice.one(&[0, 1, 5, 48, 1 << 26, 1 << 61]));
            Value::Var(g.input(slot, &[size], DType::F32))
        }
        4 => {
            let (id, size) = (dice.one(&[0, 1, 2, usize::MAX]), dice.one(&[1, 5, 35, 1 << 26]));
            Value::Var(g.param(id, &[size]))
        }
        5 => Value::Var(g.fill(7.0, &[dice.one(&[1, 48, 1 << 26])])),
        6 => {
            let vars: Vec<Var> =
                given.iter().filter_map(|x| if let Value::Var(v) = x { Some(*v) } else { None }).collect();
            let made = Maker::of(g, dice.bits(), &vars, None).values;
            Value::Var(made[dice.below(made.len())].var)
        }
        _ => dice.one(given),
    }
}
