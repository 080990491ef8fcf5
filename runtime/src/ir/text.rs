//! Strips, loop nests and products as text.
//!
//! `r3` is the register of instruction 3, `o2[i]` element `i` of operand 2 in the row, `s0` a scalar of
//! the row.

use std::fmt;
use std::fmt::{Debug, Display, Formatter};

use super::Level;
use super::nest::LoopKernel;
use super::product::{Canonical, MatMul, Piece, pieces};
use super::strip::{Effect, Inst, Kind, Reg, Strip, Walk};

/// The name of a variant as words with lines between them.
fn name(variant: impl Debug) -> String {
    let (mut text, mut lower) = (String::new(), false);
    for c in format!("{variant:?}").chars() {
        if lower && c.is_uppercase() {
            text.push('_');
        }
        lower = c.is_lowercase();
        text.extend(c.to_lowercase());
    }
    text
}

/// Items, separated by commas.
fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

impl Display for Reg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// The element of an operand at a place of the row.
struct Element(usize, Walk);

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Element(operand, walk) = self;
        match walk {
            Walk::Contiguous => write!(f, "o{operand}[i]"),
            Walk::Fixed => write!(f, "o{operand}[0]"),
            Walk::Strided(stride) => write!(f, "o{operand}[{stride} * i]"),
            Walk::Repeated(times) => write!(f, "o{operand}[i / {times}]"),
        }
    }
}

impl Display for Inst {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Inst::Const(bits, Kind::Float) => write!(f, "{:?}", f32::from_bits(bits)),
            Inst::Const(bits, Kind::Int) => write!(f, "{}", bits as i32),
            Inst::Const(bits, Kind::Mask) => write!(f, "{}", bits != 0),
            Inst::Load(operand, walk, _) => write!(f, "{}", Element(operand, walk)),
            Inst::Scalar(scalar) => write!(f, "s{scalar}"),
            Inst::Number(operand, walk) => write!(f, "number {}", Element(operand, walk)),
            Inst::One(op, x) => write!(f, "{} {x}", name(op)),
            Inst::Two(op, x, y) => write!(f, "{} {x}, {y}", name(op)),
            Inst::Fma(op, x, y, z) => write!(f, "{} {x}, {y}, {z}", op.name()),
            Inst::Select(mask, x, y) => write!(f, "select {mask}, {x}, {y}"),
            Inst::Rare(function, mask, x, y) => write!(f, "call {} where {mask}: {x}, {y}", name(function)),
        }
    }
}

impl Display for Effect {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Effect::Store(operand, walk, r) => write!(f, "{} = {r}", Element(operand, walk)),
            Effect::Accumulate(operand, walk, op, r) => {
                let element = Element(operand, walk);
                write!(f, "{element} = {} {element}, {r}", op.name())
            }
            Effect::Fold(scalar, op, r) => write!(f, "s{scalar} = {} over the row of {r}", op.name()),
            Effect::Define(scalar, r) => write!(f, "s{scalar} = {r}"),
        }
    }
}

/// A line for each instruction and each effect.
impl Display for Strip {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, inst) in self.insts().iter().enumerate() {
            let r = Reg(i as u32);
            writeln!(f, "    {r}: {} = {inst}", name(self.kind(r)))?;
        }
        self.effects().iter().try_for_each(|effect| writeln!(f, "    {effect}"))
    }
}

impl Display for LoopKernel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let LoopKernel { outer, row, side_by_side, operands, fills, passes, .. } = self;
        write!(f, "  a row of {row} elements")?;
        match &outer[..] {
            [] => writeln!(f)?,
            sizes => writeln!(f, " in loops of {}{}", list(sizes), if *side_by_side { ", side by side" } else { "" })?,
        }
        for (i, strides) in operands.iter().enumerate().filter(|(_, strides)| !strides.is_empty()) {
            writeln!(f, "  o{i} moves by {} elements", list(strides))?;
        }
        for (operand, len, bits) in fills {
            writeln!(f, "  o{operand} is filled with {len} elements of bits {bits:#010x}")?;
        }
        for (i, pass) in passes.iter().enumerate() {
            for (strip, when) in [(&pass.once, "once for the row"), (&pass.each, "for each element")] {
                if !strip.is_empty() {
                    write!(f, "  pass {i}, {when}:\n{strip}")?;
                }
            }
        }
        Ok(())
    }
}

impl Display for MatMul {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let MatMul { m, n, k, strides, sums, batch, border, .. } = self;
        writeln!(f, "  a product of {m} x {k} and {k} x {n} elements")?;
        for (operand, [row, column]) in strides.iter().enumerate() {
            writeln!(f, "  o{operand}: rows {row} elements apart, columns {column}")?;
        }
        for (size, strides) in sums {
            writeln!(f, "  added up over {size}, along which o0, o1 move by {} elements", list(strides))?;
        }
        for (size, strides) in batch {
            writeln!(f, "  for each of {size}, along which o0, o1, o2 move by {} elements", list(strides))?;
        }
        border.iter().try_for_each(|border| {
            let ((pair, pair_step), (sum, sum_step)) = (border.pairs, border.sum);
            let range = &border.range;
            writeln!(
                f,
                "  only where {pair_step} * place in pairs {pair} + {sum_step} * place in sum {sum} is in {range:?}"
            )
        })
    }
}

impl Display for Piece {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let spec = &self.spec;
        write!(f, "{} x {} x {} elements, from elements {} on", spec.m, spec.k, spec.n, list(self.starts))
    }
}

impl MatMul {
    /// The pieces that are compiled for a level: rows, inner dimension and columns, and where each starts.
    pub(crate) fn pieces_as_text(&self, level: Level) -> String {
        let canonical = Canonical::new(self, level);
        let transposed = if canonical.transposed { ", of the transposed product" } else { "" };
        let pieces = pieces(&canonical, level);
        pieces.iter().enumerate().map(|(i, piece)| format!("  part {i}{transposed}: {piece}\n")).collect()
    }
}
