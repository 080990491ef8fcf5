//! The calls of an operation that is a kernel by itself, or several.

use crate::error::Error;
use crate::graph::strides::steps;
use crate::graph::{Contraction, Op, RoutineOp, Var};
use crate::ir::Level;
use crate::ir::product::{MatMul, scratch};
use crate::kernel::fuse::group::Fusion;
use crate::kernel::fuse::parts;
use crate::kernel::nest::blocks::{self, Blocks};
use crate::kernel::nest::contract::LoweredContraction;
use crate::kernel::nest::lower;
use crate::kernel::{Call, Operand, RoutineCall, Scratch, SharedLoops, Storage, Work};

/// Adds the calls of `v`, and the scratch memory that they need.
///
/// # Errors
///
/// For a level that this machine does not have, and for a `ScatterAdd` of more than 2³² rows.
pub(crate) fn lower(fusion: &Fusion<'_>, v: Var, calls: &mut Vec<Call>, scratch: &mut Scratch) -> Result<(), Error> {
    let node = &fusion.graph[v];
    let nodes = [v].into_iter().chain(fusion.layout.within(v).map(|(whole, _)| whole)).collect();
    let mut alone = Alone { fusion, v, nodes, calls, scratch };
    match &node.op {
        Op::MatMul(left, right) => {
            let product = matmul(fusion, v, *left, *right);
            alone.product(LoweredContraction { product, swapped: false, copy: None }, Level::current()?);
        }
        Op::Contract(letters) => alone.contraction(letters, Level::current()?),
        Op::Gather => alone.gather(),
        Op::ScatterAdd => alone.scatter_add()?,
        Op::Checked(rows) => {
            let operands = vec![alone.operand(node.args[0])];
            alone.push(Work::Check { count: node.len(), rows: *rows }, operands);
        }
        Op::Routine(op) => alone.routine(*op),
        Op::Pad(before) => {
            let strides = steps(&node.shape);
            let offset = before.iter().zip(&strides).map(|(&b, &s)| b * s as usize).sum();
            alone.copy_into_result(node.args[0], offset, Some(node.len()));
        }
        Op::Concat(axis) => alone.concat(*axis),
        op => unreachable!("{op:?} is computed in a loop nest"),
    }
    Ok(())
}

/// An operation that is a kernel by itself while its calls are made.
struct Alone<'a> {
    fusion: &'a Fusion<'a>,
    v: Var,
    /// The nodes that the calls compute: the operation, and what its result is a part of.
    nodes: Vec<Var>,
    calls: &'a mut Vec<Call>,
    scratch: &'a mut Scratch,
}

impl Alone<'_> {
    fn operand(&self, v: Var) -> Operand {
        self.fusion.operand(&self.fusion.view(v))
    }

    /// The operands of the arguments and of the result.
    fn operands(&self) -> Vec<Operand> {
        self.fusion.graph[self.v].args.iter().chain([&self.v]).map(|&v| self.operand(v)).collect()
    }

    fn push(&mut self, work: Work, operands: Vec<Operand>) {
        let (nodes, shared_loops) = (self.nodes.clone(), SharedLoops::default());
        self.calls.push(Call { work, operands, nodes, refused: None, shared_loops });
    }

    /// Copies an argument into the result, from `offset` on. With `fill`, so many elements of the result are zeroed
    /// first.
    fn copy_into_result(&mut self, arg: Var, offset: usize, fill: Option<usize>) {
        let strides = steps(&self.fusion.graph[self.v].shape);
        self.calls.push(lower::copy(self.fusion, arg, Storage::Value(self.v), (offset, &strides), fill));
    }

    fn contraction(&mut self, letters: &Contraction, level: Level) {
        self.product(LoweredContraction::new(self.fusion, self.v, letters, level), level);
    }

    /// Matrix products: one call, or the calls of the blocks of a long product and of the sum of their results.
    fn product(&mut self, lowered: LoweredContraction, level: Level) {
        let LoweredContraction { product, swapped, copy } = lowered;
        let node = &self.fusion.graph[self.v];
        let mut args = [self.operand(node.args[0]), self.operand(node.args[1])];
        if let Some((arg, strides)) = copy {
            args[arg] = self.scratch.add_shared(self.fusion.graph[node.args[arg]].len());
            let copy = lower::copy(self.fusion, node.args[arg], args[arg].storage, (0, &strides), None);
            self.calls.push(Call { nodes: vec![], ..copy });
        }
        if swapped {
            args.reverse();
        }
        let result = self.operand(self.v);
        let Some(Blocks { products, count }) = blocks::blocks(&product) else {
            return self.multiply(product, [args[0], args[1], result], level);
        };
        let results = self.scratch.add_shared(count * blocks::len(&product));
        for (block, [a, b, c]) in products {
            let at =
                |operand: Operand, by: isize| Operand { offset: operand.offset.wrapping_add_signed(by), ..operand };
            self.multiply(block, [at(args[0], a), at(args[1], b), at(results, c)], level);
        }
        for call in blocks::add_up(&product, count, results, result, self.scratch) {
            let call = Call { nodes: self.nodes.clone(), ..call };
            self.calls.extend(parts::split(self.fusion.graph, call, None, self.scratch));
        }
    }

    /// One call of a product kernel, with the scratch memory that it packs its arguments into.
    fn multiply(&mut self, product: MatMul, operands: [Operand; 3], level: Level) {
        let mut operands = operands.to_vec();
        let packed = scratch(&product, level);
        if packed > 0 {
            operands.push(self.scratch.add(packed));
        }
        self.push(Work::MatMul(product), operands);
    }

    fn gather(&mut self) {
        let graph = self.fusion.graph;
        let [table, index] = [0, 1].map(|i| &graph[graph[self.v].args[i]]);
        let (rows, width) = (table.shape[0], table.shape[1..].iter().product());
        self.push(Work::Gather { count: index.len(), width, rows }, self.operands());
    }

    /// Sorts the positions of the index by row, so that threads can share the rows and each row is added up in order.
    fn scatter_add(&mut self) -> Result<(), Error> {
        let node = &self.fusion.graph[self.v];
        let count = self.fusion.graph[node.args[0]].len();
        let (rows, width) = (node.shape[0], node.shape[1..].iter().product());
        let base = node.args.get(2).copied();
        if let Some(base) = base
            && !self.fusion.layout.is_part(self.fusion.view(base).base, self.v)
        {
            self.copy_into_result(base, 0, None);
        }
        if u32::try_from(count).is_err() {
            return Err(Error::Compile {
                what: format!("a sum of {count} rows by number"),
                message: format!("expected at most {}", u32::MAX),
            });
        }
        let (index, added) = (self.operand(node.args[0]), self.operand(node.args[1]));
        let [positions, ends] = [count, rows].map(|len| self.scratch.add_shared(len));
        self.push(Work::Sort { count, rows }, vec![index, positions, ends]);
        let operands = vec![positions, ends, added, self.operand(self.v)];
        self.push(Work::ScatterAdd { count, width, rows, added: base.is_some() }, operands);
        Ok(())
    }

    fn routine(&mut self, op: RoutineOp) {
        let graph = self.fusion.graph;
        let node = &graph[self.v];
        let call = RoutineCall {
            op,
            units: op.0.units(&node.shape),
            args: node.args.iter().map(|&arg| graph[arg].len()).collect(),
            len: node.len(),
            flops: op.0.flops(&node.shape),
        };
        self.push(Work::Routine(call), self.operands());
    }

    /// Copies the parts that no product has written to their place.
    fn concat(&mut self, axis: usize) {
        let (fusion, v) = (self.fusion, self.v);
        let stride = steps(&fusion.graph[v].shape)[axis] as usize;
        let mut start = 0;
        for &arg in &fusion.graph[v].args {
            if !fusion.layout.is_part(fusion.view(arg).base, v) {
                self.copy_into_result(arg, start * stride, None);
            }
            start += fusion.graph[arg].shape[axis];
        }
    }
}

/// The matrix products of a `MatMul` node whose arguments may be transposed.
fn matmul(fusion: &Fusion<'_>, v: Var, transpose_left: bool, transpose_right: bool) -> MatMul {
    let node = &fusion.graph[v];
    let rank = node.shape.len();
    let strides = |arg: Var| {
        let (shape, natural) = (&fusion.graph[arg].shape, steps(&fusion.graph[arg].shape));
        let mut strides = fusion.view(arg).strides;
        // An axis of size one may have any stride; kernels are chosen by the stride of a dense matrix.
        for (i, &size) in shape.iter().enumerate().skip(rank - 2) {
            if size == 1 {
                strides[i] = natural[i];
            }
        }
        strides
    };
    let (a, b, c) = (strides(node.args[0]), strides(node.args[1]), strides(v));
    let matrix = |s: &[isize], transposed: bool| {
        let [row, column] = [s[rank - 2], s[rank - 1]];
        if transposed { [column, row] } else { [row, column] }
    };
    let left = &fusion.graph[node.args[0]].shape;
    MatMul {
        m: node.shape[rank - 2],
        n: node.shape[rank - 1],
        k: left[if transpose_left { rank - 2 } else { rank - 1 }],
        strides: [matrix(&a, transpose_left), matrix(&b, transpose_right), matrix(&c, false)],
        sums: vec![],
        batch: (0..rank - 2).filter(|&i| node.shape[i] != 1).map(|i| (node.shape[i], [a[i], b[i], c[i]])).collect(),
        ..MatMul::default()
    }
}
