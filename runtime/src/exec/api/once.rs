//! Values of a graph that was staged by hand: compiled, or by the reference.

use super::computation::{Computation, check_inputs, expected, refused};
use crate::error::{Error, Result};
use crate::graph::reference::evaluate;
use crate::graph::{Op, Stage, Value, Var};
use crate::tensor::{Elements, Input, Tensor};

impl Stage {
    /// Compiles the graph for these values, runs it once on the inputs, and gives the values.
    /// Whole numbers and truth values come back as numbers.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// use downhill::Input;
    /// use downhill::shape::DType;
    /// let mut g = Stage::new();
    /// let x = Value::from(g.input(0, &[3], DType::F32));
    /// let y = exp::stage(&mut g, x);
    /// let data = Tensor::new([3], [0.0, 1.0, 2.0])?;
    /// let values = g.compute(&[y], &[Input::from(&data)])?;
    /// assert!((values[0].data()[2] - 7.389056).abs() < 1e-5);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When an operation was refused, an input is missing or has another shape, an index is out of range,
    /// or its range is not known.
    pub fn compute(&self, values: &[Value], inputs: &[Input<'_>]) -> Result<Vec<Tensor>> {
        let roots = self.roots(values)?;
        self.check_memory(&roots)?;
        let mut compiled = Computation::new(self, &roots)?;
        compiled.run(inputs)?;
        (0..roots.len()).map(|i| compiled.tensor(i)).collect()
    }

    /// Compiles the graph for these values, to be computed as often as one likes.
    ///
    /// ```
    /// use downhill::prelude::*;
    /// use downhill::shape::DType;
    /// let mut g = Stage::new();
    /// let x = Value::from(g.input(0, &[3], DType::F32));
    /// let y = square::stage(&mut g, x);
    /// let ones = g.fill(1.0, &[3]);
    /// let dx = square::grad(&mut g, x, Some(ones)).map(Value::Var).unwrap();
    /// let mut both = g.compile(&[y, dx])?;
    /// both.run(&Tensor::new([3], [1.0, 2.0, 3.0])?)?;
    /// assert_eq!(both.data(0)?, [1.0, 4.0, 9.0]);
    /// assert_eq!(both.data(1)?, [2.0, 4.0, 6.0]);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When an operation was refused, a value depends on a parameter or on random numbers or
    /// has no elements, or the range of an index is not known.
    pub fn compile(&self, values: &[Value]) -> Result<Computation> {
        Computation::new(self, &self.roots(values)?)
    }

    /// The same values by the f64 reference, without compiling anything.
    ///
    /// # Errors
    ///
    /// As [`Stage::compute`].
    pub fn reference(&self, values: &[Value], inputs: &[Input<'_>]) -> Result<Vec<Vec<f64>>> {
        let roots = self.roots(values)?;
        check_inputs(&expected(self, &roots)?, inputs)?;
        self.check_memory(&roots)?;
        let source = |op: &Op| match op {
            Op::Input(number) => match inputs[*number].elements() {
                Elements::Tensor(data) => data.iter().map(|&x| x as f64).collect(),
                Elements::Index(data) => data.iter().map(|&x| x as f64).collect(),
            },
            _ => vec![],
        };
        evaluate(self.graph(), &roots, &source).map_err(|e| refused(&e.to_string()))
    }

    /// Refuses values for which the reference, which keeps all of them, has no memory.
    fn check_memory(&self, roots: &[Var]) -> Result<()> {
        let live = self.graph().live(roots.iter().copied());
        let nodes = self.graph().vars().filter(|(v, _)| live[v.index()]);
        let elements = nodes.map(|(_, node)| node.len()).fold(0, usize::saturating_add);
        match Vec::<f64>::new().try_reserve_exact(elements) {
            Ok(()) => Ok(()),
            Err(_) => Err(Error::Memory { what: "the reference".into(), elements }),
        }
    }

    fn roots(&self, values: &[Value]) -> Result<Vec<Var>> {
        self.check_sizes()?;
        if let Some(message) = self.error() {
            return Err(refused(message));
        }
        let root = |value: &Value| match value {
            Value::Var(v) if self.owns(*v) => Ok(*v),
            Value::Var(_) => Err(refused("a value is one of another graph")),
            _ => Err(refused("a value is not a tensor")),
        };
        values.iter().map(root).collect()
    }
}
