//! The declared shapes of a network function, and the values of its symbols in one call.

use super::{Check, Message, ParamSet, TensorType, Type};
use crate::shape::{DType, Dim, MAX_RANK, Shape};

/// A tensor as a signature declares it.
#[derive(Clone, Copy)]
pub struct Declared {
    /// `None` takes any.
    dtype: Option<DType>,
    /// `Tensor` without dimensions in a parameter takes any shape.
    any: bool,
    /// The letter of `[N]`, which stands for any number of outer dimensions; zero for none.
    rest: u8,
    shape: Shape,
}

impl Declared {
    /// `Tensor<B, 10>`.
    pub const fn dims(dtype: DType, dims: &[Dim]) -> Declared {
        Declared { dtype: Some(dtype), any: false, rest: 0, shape: Shape::of(dims) }
    }

    /// `Tensor<[N], 10>`: any number of outer dimensions.
    pub const fn rest(dtype: DType, letter: char, dims: &[Dim]) -> Declared {
        Declared { dtype: Some(dtype), any: false, rest: letter as u8, shape: Shape::of(dims) }
    }

    /// `Tensor`.
    pub const fn any(dtype: DType) -> Declared {
        Declared { dtype: Some(dtype), any: true, rest: 0, shape: Shape::SCALAR }
    }

    /// A tensor of any element type and shape.
    pub const fn value() -> Declared {
        Declared { dtype: None, any: true, rest: 0, shape: Shape::SCALAR }
    }

    const fn takes(self, dtype: DType) -> bool {
        match self.dtype {
            Some(expected) => expected.same(dtype),
            None => true,
        }
    }

    const fn dtype_name(self) -> &'static str {
        match self.dtype {
            Some(dtype) => dtype.name(),
            None => "any tensor",
        }
    }

    /// A tensor of this declaration, with which a function can be checked without a caller.
    pub const fn entry(self) -> Type {
        if self.any {
            return Type::Unknown;
        }
        let shape =
            if self.rest == 0 { self.shape } else { Shape::of(&[Dim::symbol(self.rest as char)]).join(&self.shape) };
        match self.dtype {
            Some(dtype) => Type::tensor(dtype, shape),
            None => Type::Unknown,
        }
    }

    const fn write(self, message: Message, frame: &Frame) -> Message {
        let message = message.str("[");
        let message = if self.rest == 0 {
            message
        } else {
            let message = message.str("..");
            if self.shape.rank() > 0 { message.str(", ") } else { message }
        };
        message.dims(frame.resolve_known(self.shape)).str("]")
    }
}

/// The symbols of one call of a network function: bound by its arguments, used in its body.
pub struct Frame {
    name: &'static str,
    letters: [u8; Frame::CAPACITY],
    dims: [Dim; Frame::CAPACITY],
    len: usize,
    rest: Shape,
    /// Whether errors of index ranges name this function, since a user calls it.
    named: bool,
}

impl Frame {
    const CAPACITY: usize = 16;

    /// A call of the function `name`.
    pub const fn new(name: &'static str) -> Frame {
        Frame {
            name,
            letters: [0; Frame::CAPACITY],
            dims: [Dim::UNKNOWN; Frame::CAPACITY],
            len: 0,
            rest: Shape::SCALAR,
            named: false,
        }
    }

    /// A call of the function `name` of a library: mistakes in its body are the caller's.
    pub const fn called(cx: &mut Check, name: &'static str) -> Frame {
        let mut frame = Frame::new(name);
        if cx.caller.is_none() {
            (frame.named, cx.caller) = (true, Some(name));
        }
        frame
    }

    /// Checks an argument against its declaration and binds the symbols that stand alone in it.
    #[track_caller]
    pub const fn param(&mut self, cx: &mut Check, arg: &str, ty: Type, declared: Declared) -> Type {
        let Some(tensor) = ty.operand(cx, self.name) else {
            return self.assumed(declared);
        };
        if !declared.takes(tensor.dtype) {
            let message = self.about(arg).str("expected ").str(declared.dtype_name());
            return cx.error(message.str(", found ").str(tensor.dtype.name()));
        }
        if declared.any {
            return ty;
        }
        let found = tensor.shape;
        let rank = declared.shape.rank();
        if found.rank() < rank || declared.rest == 0 && found.rank() != rank {
            return cx.error(self.mismatch(arg, found, declared));
        }
        let outer = found.rank() - rank;
        if declared.rest != 0 {
            let rest = found.range(0, outer);
            if self.lookup(declared.rest).is_none() {
                self.bind(declared.rest, rest.len());
                self.rest = rest;
            } else if !self.rest.same(&rest) {
                return cx.error(self.mismatch(arg, found, declared));
            }
        }
        let mut i = 0;
        while i < rank {
            let dim = declared.shape.dim(i);
            let (size, symbols) = dim.parts();
            if size == 1 && symbols[0] != 0 && symbols[1] == 0 && self.lookup(symbols[0]).is_none() {
                self.bind(symbols[0], found.dim(outer + i));
            }
            if !self.resolve(dim).same(found.dim(outer + i)) {
                return cx.error(self.mismatch(arg, found, declared));
            }
            i += 1;
        }
        ty
    }

    /// The declared type of a value that is unknown because of an earlier error, so that later errors are found too.
    const fn assumed(&self, declared: Declared) -> Type {
        let rest_is_open = declared.rest != 0 && self.lookup(declared.rest).is_none();
        let Some(dtype) = declared.dtype else { return Type::Unknown };
        if declared.any || rest_is_open {
            return Type::Unknown;
        }
        let mut tensor = TensorType::new(dtype, self.expected(declared));
        tensor.reach = ParamSet::ALL;
        Type::Tensor(tensor)
    }

    /// A declared shape with the symbols of this call substituted.
    const fn expected(&self, declared: Declared) -> Shape {
        let mut shape = declared.shape;
        let mut i = 0;
        while i < shape.rank() {
            shape = shape.with(i, self.resolve(shape.dim(i)));
            i += 1;
        }
        if declared.rest == 0 { shape } else { self.rest.join(&shape) }
    }

    /// A parameter that is a size or an axis.
    #[track_caller]
    pub const fn size(&mut self, cx: &mut Check, arg: &str, ty: Type) -> Dim {
        match ty {
            Type::Dim(dim) => dim,
            Type::Unknown => Dim::UNKNOWN,
            _ => {
                cx.error(self.about(arg).str("expected a whole number"));
                Dim::UNKNOWN
            }
        }
    }

    /// A parameter that is a truth value.
    #[track_caller]
    pub const fn flag(&mut self, cx: &mut Check, arg: &str, ty: Type) -> bool {
        match ty {
            Type::Bool(flag) => flag,
            _ => {
                cx.error(self.about(arg).str("expected a truth value"));
                false
            }
        }
    }

    /// Checks the result against its declaration.
    #[track_caller]
    pub const fn result(&self, cx: &mut Check, ty: Type, declared: Declared) -> Type {
        if self.named {
            cx.caller = None;
        }
        let Some(tensor) = ty.operand(cx, self.name) else {
            return self.assumed(declared);
        };
        if !declared.takes(tensor.dtype) {
            let message = Message::new().str(self.name).str(": declared to return ").str(declared.dtype_name());
            return cx.error(message.str(", returns ").str(tensor.dtype.name()));
        }
        let rest_is_open = declared.rest != 0 && self.lookup(declared.rest).is_none();
        if declared.any || rest_is_open {
            return Type::Tensor(tensor);
        }
        let expected = self.expected(declared);
        if expected.same(&tensor.shape) {
            return Type::Tensor(tensor);
        }
        let message = Message::new().str(self.name).str(": declared to return ").shape(expected);
        cx.error(message.str(", returns ").shape(tensor.shape));
        self.assumed(declared)
    }

    /// The value of the symbol `letter` in this call.
    pub const fn dim(&self, letter: char) -> Dim {
        match self.lookup(letter as u8) {
            Some(dim) => dim,
            None => Dim::UNKNOWN,
        }
    }

    const fn about(&self, arg: &str) -> Message {
        Message::new().str(self.name).str(": `").str(arg).str("`: ")
    }

    const fn mismatch(&self, arg: &str, found: Shape, declared: Declared) -> Message {
        let message = declared.write(self.about(arg).str("expected "), self);
        message.str(", found ").shape(found)
    }

    const fn lookup(&self, letter: u8) -> Option<Dim> {
        let mut i = 0;
        while i < self.len {
            if self.letters[i] == letter {
                return Some(self.dims[i]);
            }
            i += 1;
        }
        None
    }

    const fn bind(&mut self, letter: u8, dim: Dim) {
        assert!(self.len < Frame::CAPACITY, "a signature has at most 16 symbols");
        self.letters[self.len] = letter;
        self.dims[self.len] = dim;
        self.len += 1;
    }

    /// A declared dimension with the symbols of this call substituted.
    const fn resolve(&self, dim: Dim) -> Dim {
        let (size, symbols) = dim.parts();
        if dim.is_unknown() || symbols[0] == 0 {
            return dim;
        }
        let mut product = Dim::int(size);
        let mut i = 0;
        while i < symbols.len() && symbols[i] != 0 {
            product = match self.lookup(symbols[i]) {
                Some(dim) => product.times(dim),
                None => return Dim::UNKNOWN,
            };
            i += 1;
        }
        product
    }

    /// A declared shape with the symbols of this call substituted; symbols that are not bound yet stay.
    const fn resolve_known(&self, shape: Shape) -> Shape {
        let mut out = shape;
        let mut i = 0;
        while i < shape.rank() && i < MAX_RANK {
            let dim = self.resolve(shape.dim(i));
            if !dim.is_unknown() {
                out = out.with(i, dim);
            }
            i += 1;
        }
        out
    }
}
