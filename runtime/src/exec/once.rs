//! Values of a graph that was staged by hand: compiled, or by the reference.

use super::model::input_ptr;
use super::{Buffer, Place, Program};
use crate::error::{Error, Result};
use crate::graph::{Op, Stage, Value, Var};
use crate::reference::evaluate;
use crate::tensor::{Input, Tensor};

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
    /// When an operation on the way was refused, an input is missing or has another shape, or an
    /// index is out of range.
    pub fn compute(&self, values: &[Value], inputs: &[Input<'_>]) -> Result<Vec<Tensor>> {
        // The reference finds every index that is out of range.
        self.reference(values, inputs)?;
        let roots = self.roots(values)?;
        let mut buffers: Vec<Buffer> = roots.iter().map(|&v| Buffer::zeros(self[v].len())).collect();
        let places: Vec<(Var, Place)> =
            roots.iter().enumerate().map(|(i, &v)| (v, Place { slot: inputs.len() + i, offset: 0 })).collect();
        let source = |op: &Op| match op {
            Op::Input(slot) => Place { slot: *slot, offset: 0 },
            _ => unreachable!("parameters were refused"),
        };
        let mut program = Program::compile("compute", self.graph(), &source, &places)?;
        let slots: Vec<*mut f32> =
            inputs.iter().map(|&x| input_ptr(x)).chain(buffers.iter_mut().map(Buffer::as_mut_ptr)).collect();
        // SAFETY: the inputs have the staged shapes, every index was checked by the reference on
        // the same inputs, and the results are written to buffers of their size.
        unsafe { program.run(&slots) };
        roots
            .iter()
            .zip(&buffers)
            .map(|(&v, buffer)| {
                let data: Vec<f32> = match self[v].dtype {
                    crate::shape::DType::I32 => buffer.iter().map(|x| x.to_bits() as i32 as f32).collect(),
                    _ => buffer.to_vec(),
                };
                Tensor::new(self[v].shape.clone(), data)
            })
            .collect()
    }

    /// The same values by the f64 reference, without compiling anything.
    ///
    /// # Errors
    ///
    /// As [`Stage::compute`].
    pub fn reference(&self, values: &[Value], inputs: &[Input<'_>]) -> Result<Vec<Vec<f64>>> {
        let roots = self.roots(values)?;
        let live = self.graph().live(roots.iter().copied());
        for (_, node) in self.graph().vars().filter(|(v, _)| live[v.0 as usize]) {
            if node.is_empty() {
                return Err(refused(&format!("the result of {} has no elements", node.name())));
            }
            match node.op {
                Op::Input(slot) => match inputs.get(slot) {
                    Some(x) if x.shape() == node.shape && x.dtype() == node.dtype => {}
                    found => {
                        let found = found.map_or("none was given".into(), |x| format!("{:?} was given", x.shape()));
                        return Err(refused(&format!("input {slot} is {:?}, {found}", node.shape)));
                    }
                },
                Op::Param(_) => return Err(refused("the value depends on a parameter of a model")),
                _ => {}
            }
        }
        let source = |op: &Op| match op {
            Op::Input(slot) => match inputs[*slot] {
                Input::Tensor(_, data) => data.iter().map(|&x| x as f64).collect(),
                Input::Index(_, data) => data.iter().map(|&x| x as f64).collect(),
            },
            _ => vec![],
        };
        evaluate(self.graph(), &roots, &source).map_err(|e| refused(&e.to_string()))
    }

    fn roots(&self, values: &[Value]) -> Result<Vec<Var>> {
        let root = |value: &Value| match value {
            Value::Var(v) => Ok(*v),
            _ => Err(refused(self.error().unwrap_or("a value is not a tensor"))),
        };
        values.iter().map(root).collect()
    }
}

fn refused(message: &str) -> Error {
    Error::Shape { function: "graph".into(), message: message.into() }
}
