//! Straight-line vector code over a run of elements: the body of every loop kernel.
//!
//! A strip says how one element of the run is computed from the elements of operands at the same place; the emitters
//! decide how many elements are computed at once. Its instructions are few and plain, so that an emitter is small:
//! functions such as `exp` are expanded into them (see `math`).

use super::multiply_add::Fma;
pub(crate) use super::rare::Rare;
use super::reduce::Reduce;

/// The result of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reg(pub(crate) u32);

impl Reg {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What the lanes of a register hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Single-precision numbers.
    Float,
    /// 32-bit integers, or the bits of numbers.
    Int,
    /// All bits set or none, as comparisons give them.
    Mask,
}

/// How an operand is read or written along the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Walk {
    /// Element `i` of the run is element `i` of the operand.
    Contiguous,
    /// Every element of the run is the same element of the operand.
    Fixed,
    /// Element `i` of the run is element `i * stride` of the operand.
    Strided(isize),
    /// Element `i` of the run is element `i / n` of the operand, for n = 2 or 4. Only loads have this walk, and only in
    /// kernels with a loop around the row.
    Repeated(usize),
}

/// Instructions of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op1 {
    Neg,
    Abs,
    Sqrt,
    /// To the nearest whole number, ties to even.
    Nearest,
    Floor,
    /// Number to integer, rounded towards zero; the nearest integer if out of range, zero for NaN.
    ToInt,
    /// The same for a number that is known to be in range; any integer if it is not.
    ToIntInRange,
    /// Integer to number.
    ToFloat,
    /// The bits of a number as an integer, and back.
    Bits,
    FromBits,
    /// Shifts by a constant; to the right with the sign.
    Shl(u8),
    Shr(u8),
    /// A shift to the right without the sign.
    ShrUnsigned(u8),
    /// One where a mask holds, else zero, as a number.
    MaskToFloat,
    /// The m from ¾ to 1½ of x = 2ᵉ m; one for infinity, one or its negative for zero, NaN for negative numbers and
    /// NaN.
    Mantissa,
}

/// Instructions of two arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op2 {
    Add,
    Sub,
    Mul,
    Div,
    /// The larger and the smaller argument; NaN if either one is.
    Max,
    Min,
    /// a 2ⁿ for a from ½ to 2 and a whole number n from -252 to 254, rounded once; NaN if a is, and
    /// anything if n is NaN.
    Scale,
    /// The e of a = 2ᵉ b for a positive a and its mantissa b; -∞ for zero, ∞ for infinity.
    Exponent,
    IAdd,
    ISub,
    IMul,
    IMin,
    IMax,
    And,
    Or,
    Xor,
    Lt,
    Le,
    Eq,
    Ne,
    ILt,
    ILe,
    IEq,
}

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Inst {
    /// The same 32 bits in all lanes.
    Const(u32, Kind),
    /// Elements of an operand.
    Load(usize, Walk, Kind),
    /// A scalar of the row, by number.
    Scalar(usize),
    /// The number of the element of an operand, counted from the operand's start.
    Number(usize, Walk),
    One(Op1, Reg),
    Two(Op2, Reg, Reg),
    /// The product of the first two registers and the third, in one operation.
    Fma(Fma, Reg, Reg, Reg),
    /// Lanes of the second register where the first, a mask, holds, else of the third.
    Select(Reg, Reg, Reg),
    /// A function of the second and third register where the first, a mask, holds, else the second. Each lane in which
    /// the mask holds takes a call of scalar code.
    Rare(Rare, Reg, Reg, Reg),
}

impl Inst {
    /// The registers that it reads.
    pub(crate) fn args(&self) -> impl Iterator<Item = Reg> + use<> {
        let args = match *self {
            Inst::Const(..) | Inst::Load(..) | Inst::Scalar(_) | Inst::Number(..) => [None; 3],
            Inst::One(_, x) => [Some(x), None, None],
            Inst::Two(_, x, y) => [Some(x), Some(y), None],
            Inst::Fma(_, x, y, z) | Inst::Select(x, y, z) | Inst::Rare(_, x, y, z) => [Some(x), Some(y), Some(z)],
        };
        args.into_iter().flatten()
    }

    /// The same of other registers.
    pub(crate) fn map(self, f: impl Fn(Reg) -> Reg) -> Inst {
        match self {
            Inst::Const(..) | Inst::Load(..) | Inst::Scalar(_) | Inst::Number(..) => self,
            Inst::One(op, x) => Inst::One(op, f(x)),
            Inst::Two(op, x, y) => Inst::Two(op, f(x), f(y)),
            Inst::Fma(op, x, y, z) => Inst::Fma(op, f(x), f(y), f(z)),
            Inst::Select(x, y, z) => Inst::Select(f(x), f(y), f(z)),
            Inst::Rare(function, x, y, z) => Inst::Rare(function, f(x), f(y), f(z)),
        }
    }
}

/// What a strip does with a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Effect {
    /// Writes elements of an operand.
    Store(usize, Walk, Reg),
    /// Combines elements of an operand with the register, and writes them back.
    Accumulate(usize, Walk, Reduce, Reg),
    /// Reduces the whole run to a scalar of the row.
    Fold(usize, Reduce, Reg),
    /// Makes a register a scalar of the row; only in strips that compute one element.
    Define(usize, Reg),
}

impl Effect {
    /// The register that it reads.
    pub(crate) fn arg(&self) -> Reg {
        match *self {
            Effect::Store(.., r) | Effect::Accumulate(.., r) | Effect::Fold(.., r) | Effect::Define(_, r) => r,
        }
    }

    /// The same of another register.
    pub(crate) fn with(self, r: Reg) -> Effect {
        match self {
            Effect::Store(operand, walk, _) => Effect::Store(operand, walk, r),
            Effect::Accumulate(operand, walk, op, _) => Effect::Accumulate(operand, walk, op, r),
            Effect::Fold(scalar, op, _) => Effect::Fold(scalar, op, r),
            Effect::Define(scalar, _) => Effect::Define(scalar, r),
        }
    }
}

/// Straight-line code for one element of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Strip {
    insts: Vec<Inst>,
    kinds: Vec<Kind>,
    effects: Vec<Effect>,
}

impl Strip {
    pub(crate) fn insts(&self) -> &[Inst] {
        &self.insts
    }

    pub(crate) fn effects(&self) -> &[Effect] {
        &self.effects
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    /// The scalars that the run is combined into, and how.
    pub(crate) fn folds(&self) -> impl Iterator<Item = (usize, Reduce)> {
        self.effects.iter().filter_map(|effect| match *effect {
            Effect::Fold(scalar, op, _) => Some((scalar, op)),
            _ => None,
        })
    }

    /// How an operand is read or written, if it is.
    pub(crate) fn walk(&self, operand: usize) -> Option<Walk> {
        let loads = self.insts.iter().filter_map(|inst| match *inst {
            Inst::Load(o, walk, _) | Inst::Number(o, walk) if o == operand => Some(walk),
            _ => None,
        });
        let stores = self.effects.iter().filter_map(|effect| match *effect {
            Effect::Store(o, walk, _) | Effect::Accumulate(o, walk, ..) if o == operand => Some(walk),
            _ => None,
        });
        loads.chain(stores).next()
    }

    /// The same with other walks along operands; `None` if `walk` is `None` for one of them.
    pub(crate) fn walking(mut self, walk: impl Fn(usize, Walk) -> Option<Walk>) -> Option<Strip> {
        for inst in &mut self.insts {
            if let Inst::Load(operand, way, _) | Inst::Number(operand, way) = inst {
                *way = walk(*operand, *way)?;
            }
        }
        for effect in &mut self.effects {
            if let Effect::Store(operand, way, _) | Effect::Accumulate(operand, way, ..) = effect {
                *way = walk(*operand, *way)?;
            }
        }
        Some(self)
    }

    pub(crate) fn kind(&self, r: Reg) -> Kind {
        self.kinds[r.index()]
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        if let Effect::Define(_, r) = effect {
            // Scalars are numbers or integers.
            debug_assert_ne!(self.kind(r), Kind::Mask, "a mask as a scalar");
        }
        self.effects.push(effect);
    }

    /// Appends an instruction, or finds an equal instruction.
    pub(crate) fn push(&mut self, inst: Inst, kind: Kind) -> Reg {
        // Loads are shared too: no element is loaded after it was stored.
        let at = self.insts.iter().position(|i| *i == inst).unwrap_or_else(|| {
            self.insts.push(inst);
            self.kinds.push(kind);
            self.insts.len() - 1
        });
        Reg(at as u32)
    }

    fn one(&mut self, op: Op1, x: Reg, kind: Kind) -> Reg {
        self.push(Inst::One(op, x), kind)
    }

    fn two(&mut self, op: Op2, a: Reg, b: Reg, kind: Kind) -> Reg {
        self.push(Inst::Two(op, a, b), kind)
    }

    pub(crate) fn float(&mut self, x: f32) -> Reg {
        self.push(Inst::Const(x.to_bits(), Kind::Float), Kind::Float)
    }

    pub(crate) fn int(&mut self, x: i32) -> Reg {
        self.push(Inst::Const(x as u32, Kind::Int), Kind::Int)
    }

    pub(crate) fn mask(&mut self, holds: bool) -> Reg {
        self.push(Inst::Const(if holds { u32::MAX } else { 0 }, Kind::Mask), Kind::Mask)
    }

    pub(crate) fn fma(&mut self, a: Reg, b: Reg, c: Reg) -> Reg {
        self.push(Inst::Fma(Fma::MulAdd, a, b, c), Kind::Float)
    }

    pub(crate) fn select(&mut self, mask: Reg, a: Reg, b: Reg) -> Reg {
        let kind = self.kind(a);
        self.push(Inst::Select(mask, a, b), kind)
    }

    /// A function that scalar code computes in each lane.
    pub(crate) fn scalar(&mut self, f: Rare, x: Reg) -> Reg {
        let every = self.mask(true);
        self.rare(f, every, x, x)
    }

    pub(crate) fn rare(&mut self, f: Rare, mask: Reg, a: Reg, b: Reg) -> Reg {
        self.push(Inst::Rare(f, mask, a, b), Kind::Float)
    }

    pub(crate) fn neg(&mut self, x: Reg) -> Reg {
        match self.kind(x) {
            Kind::Int => {
                let zero = self.int(0);
                self.isub(zero, x)
            }
            _ => self.one(Op1::Neg, x, Kind::Float),
        }
    }

    pub(crate) fn not(&mut self, mask: Reg) -> Reg {
        let all = self.mask(true);
        self.two(Op2::Xor, mask, all, Kind::Mask)
    }
}

macro_rules! ones {
    ($($name:ident $op:expr => $kind:ident;)*) => {
        // It is the register that is converted, not the strip.
        #[allow(clippy::wrong_self_convention)]
        impl Strip {
            $(pub(crate) fn $name(&mut self, x: Reg) -> Reg {
                self.one($op, x, Kind::$kind)
            })*
        }
    };
}
ones! {
    abs Op1::Abs => Float;
    sqrt Op1::Sqrt => Float;
    nearest Op1::Nearest => Float;
    floor Op1::Floor => Float;
    to_int Op1::ToInt => Int;
    to_int_in_range Op1::ToIntInRange => Int;
    to_float Op1::ToFloat => Float;
    bits Op1::Bits => Int;
    from_bits Op1::FromBits => Float;
    mask_to_float Op1::MaskToFloat => Float;
    mantissa Op1::Mantissa => Float;
}

macro_rules! twos {
    ($($name:ident $op:ident => $kind:ident;)*) => {
        impl Strip {
            $(pub(crate) fn $name(&mut self, a: Reg, b: Reg) -> Reg {
                self.two(Op2::$op, a, b, Kind::$kind)
            })*
        }
    };
}
twos! {
    add Add => Float;
    sub Sub => Float;
    mul Mul => Float;
    div Div => Float;
    max Max => Float;
    min Min => Float;
    scale Scale => Float;
    exponent Exponent => Float;
    iadd IAdd => Int;
    isub ISub => Int;
    imul IMul => Int;
    imin IMin => Int;
    imax IMax => Int;
    iand And => Int;
    or Or => Mask;
    ixor Xor => Int;
    lt Lt => Mask;
    le Le => Mask;
    eq Eq => Mask;
    ne Ne => Mask;
    differ Xor => Mask;
    ilt ILt => Mask;
    ile ILe => Mask;
    ieq IEq => Mask;
}

impl Strip {
    pub(crate) fn shl(&mut self, x: Reg, by: u8) -> Reg {
        self.one(Op1::Shl(by), x, Kind::Int)
    }

    pub(crate) fn shr_unsigned(&mut self, x: Reg, by: u8) -> Reg {
        self.one(Op1::ShrUnsigned(by), x, Kind::Int)
    }

    pub(crate) fn shr(&mut self, x: Reg, by: u8) -> Reg {
        self.one(Op1::Shr(by), x, Kind::Int)
    }
}
