//! The abstract values that shape rules compute with, and where their errors go.
//!
//! The same `const fn` rules run twice: in constant evaluation, on the symbols of a signature,
//! where an error stops `cargo check`; and before a graph is staged, on the sizes at hand, where
//! it becomes [`Error::Shape`](crate::Error::Shape).

use crate::shape::{DType, Dim, MAX_RANK, Shape};

/// A message built in constant evaluation, where no allocation is possible.
#[derive(Clone, Copy)]
pub struct Message {
    bytes: [u8; Message::CAPACITY],
    len: usize,
}

impl Message {
    const CAPACITY: usize = 400;

    /// An empty message.
    pub const fn new() -> Message {
        Message { bytes: [0; Message::CAPACITY], len: 0 }
    }

    /// Appends text; what does not fit is left out.
    pub const fn str(mut self, text: &str) -> Message {
        let text = text.as_bytes();
        let mut i = 0;
        while i < text.len() && self.len < Message::CAPACITY {
            self.bytes[self.len] = text[i];
            self.len += 1;
            i += 1;
        }
        self
    }

    /// Appends a number.
    pub const fn num(self, n: isize) -> Message {
        let mut digits = [0u8; 20];
        let mut rest = n.unsigned_abs();
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let sign = if n < 0 { self.str("-") } else { self };
        match std::str::from_utf8(digits.split_at(start).1) {
            Ok(text) => sign.str(text),
            Err(_) => sign,
        }
    }

    /// Appends a dimension: `128`, `B`, `4*B*T`, or `?` where it is unknown.
    pub const fn dim(self, dim: Dim) -> Message {
        if dim.is_unknown() {
            return self.str("?");
        }
        let (size, symbols) = dim.parts();
        if size != 1 || symbols[0] == 0 {
            let message = self.num(size);
            return message.symbols(symbols.as_slice(), true);
        }
        self.symbols(symbols.as_slice(), false)
    }

    const fn symbols(mut self, letters: &[u8], mut star: bool) -> Message {
        let mut i = 0;
        while i < letters.len() && letters[i] != 0 {
            if star {
                self = self.str("*");
            }
            if let Ok(letter) = std::str::from_utf8(std::slice::from_ref(&letters[i])) {
                self = self.str(letter);
            }
            star = true;
            i += 1;
        }
        self
    }

    /// Appends a shape: `[B, T, 128]`.
    pub const fn shape(self, shape: Shape) -> Message {
        self.str("[").dims(shape).str("]")
    }

    const fn dims(mut self, shape: Shape) -> Message {
        let mut i = 0;
        while i < shape.rank() {
            if i > 0 {
                self = self.str(", ");
            }
            self = self.dim(shape.dim(i));
            i += 1;
        }
        self
    }

    /// Appends a field's name to a path: `blocks`, then `blocks.0`, then `blocks.0.up`.
    pub const fn field(self, name: &str) -> Message {
        if self.is_empty() { self.str(name) } else { self.str(".").str(name) }
    }

    /// Appends the number of an element to a path.
    pub const fn index(self, i: usize) -> Message {
        self.str(".").num(i as isize)
    }

    /// The text.
    pub const fn get(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => "",
        }
    }

    /// Whether nothing was written.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Default for Message {
    fn default() -> Self {
        Message::new()
    }
}

/// A set of parameters by number. The first 512 are told apart; a model with more has the rest
/// checked when it is staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamSet([u64; 8]);

impl ParamSet {
    /// The parameters that a set can tell apart.
    pub const CAPACITY: usize = 512;

    /// No parameter.
    pub const EMPTY: ParamSet = ParamSet([0; 8]);

    /// Every parameter: said of a value of which only the declaration is known.
    pub const ALL: ParamSet = ParamSet([u64::MAX; 8]);

    /// One parameter.
    pub const fn one(id: usize) -> ParamSet {
        let mut set = ParamSet::EMPTY;
        if id < ParamSet::CAPACITY {
            set.0[id / 64] = 1 << (id % 64);
        }
        set
    }

    /// The parameters of both.
    pub const fn union(mut self, other: ParamSet) -> ParamSet {
        let mut i = 0;
        while i < 8 {
            self.0[i] |= other.0[i];
            i += 1;
        }
        self
    }

    /// Whether parameter `id` is in it.
    pub const fn has(&self, id: usize) -> bool {
        id < ParamSet::CAPACITY && self.0[id / 64] >> (id % 64) & 1 == 1
    }
}

/// What is known of a tensor before it is computed.
#[derive(Clone, Copy, Debug)]
pub struct TensorType {
    /// What its elements are.
    pub dtype: DType,
    /// Its dimensions.
    pub shape: Shape,
    /// The parameters that a gradient of this tensor reaches.
    pub reach: ParamSet,
    /// The parameters it depends on through an operation without a gradient.
    pub cut: ParamSet,
}

impl TensorType {
    /// A tensor that depends on no parameter.
    pub const fn new(dtype: DType, shape: Shape) -> TensorType {
        TensorType { dtype, shape, reach: ParamSet::EMPTY, cut: ParamSet::EMPTY }
    }

    /// The same dependencies with another element type and shape.
    pub const fn like(mut self, dtype: DType, shape: Shape) -> TensorType {
        self.dtype = dtype;
        self.shape = shape;
        self
    }

    /// Adds the dependencies of `other`.
    pub const fn depends(mut self, other: TensorType) -> TensorType {
        self.reach = self.reach.union(other.reach);
        self.cut = self.cut.union(other.cut);
        self
    }

    /// What remains of the dependencies behind an operation without a gradient.
    pub const fn cut(mut self) -> TensorType {
        self.cut = self.cut.union(self.reach);
        self.reach = ParamSet::EMPTY;
        self
    }
}

/// An argument or result of a shape rule.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// A tensor of a known shape.
    Tensor(TensorType),
    /// A size or an axis.
    Dim(Dim),
    /// A list of sizes or axes.
    Dims(Shape),
    /// A number that no shape depends on.
    Number,
    /// A truth value.
    Bool(bool),
    /// A tensor whose shape is not known, because an error was reported on the way to it or
    /// because its signature leaves it open. Nothing that depends on it is reported.
    Unknown,
}

impl Type {
    /// A tensor that depends on no parameter.
    pub const fn tensor(dtype: DType, shape: Shape) -> Type {
        Type::Tensor(TensorType::new(dtype, shape))
    }

    /// A list of sizes or axes.
    pub const fn dims(dims: &[Dim]) -> Type {
        Type::Dims(Shape::of(dims))
    }

    /// This argument as a tensor: a number is one without axes. `None` where it is unknown.
    #[track_caller]
    pub const fn operand(self, cx: &mut Check, op: &str) -> Option<TensorType> {
        match self {
            Type::Tensor(t) => Some(t),
            Type::Number | Type::Dim(_) => Some(TensorType::new(DType::F32, Shape::SCALAR)),
            Type::Unknown => None,
            Type::Bool(_) | Type::Dims(_) => {
                cx.error(Message::new().str(op).str(": expected a tensor, found a list or a truth value"));
                None
            }
        }
    }
}

/// A constant expression of any type that networks take, as an argument of a shape rule. Which
/// `arg` is meant is found by the type, which a `const fn` can do and a trait could not.
pub struct Const<T>(pub T);

impl Const<usize> {
    /// A size or axis.
    pub const fn arg(self) -> Type {
        Type::Dim(Dim::n(self.0))
    }
}

impl Const<isize> {
    /// An axis.
    pub const fn arg(self) -> Type {
        Type::Dim(Dim::int(self.0))
    }
}

impl Const<f32> {
    /// A number.
    pub const fn arg(self) -> Type {
        Type::Number
    }
}

impl Const<f64> {
    /// A number.
    pub const fn arg(self) -> Type {
        Type::Number
    }
}

impl Const<bool> {
    /// A truth value.
    pub const fn arg(self) -> Type {
        Type::Bool(self.0)
    }
}

impl Const<Type> {
    /// The argument itself.
    pub const fn arg(self) -> Type {
        self.0
    }
}

impl<const N: usize> Const<[usize; N]> {
    /// A list of sizes or axes.
    pub const fn arg(self) -> Type {
        Type::Dims(Shape::sizes(&self.0))
    }
}

impl Const<crate::network::Param> {
    /// A parameter.
    pub const fn arg(self) -> Type {
        self.0.ty()
    }
}

/// Where shape rules report errors.
pub struct Check {
    raise: usize,
    errors: usize,
    first: Message,
}

impl Check {
    /// Counts errors and keeps the first, as is done when the network runs.
    pub const fn record() -> Check {
        Check { raise: usize::MAX, errors: 0, first: Message::new() }
    }

    /// Panics at error number `n`, counted from zero: in constant evaluation that is a compile
    /// error at the expression at fault. One constant for each number reports several mistakes.
    pub const fn raise(n: usize) -> Check {
        Check { raise: n, errors: 0, first: Message::new() }
    }

    /// Reports an error; the value at fault counts as unknown from here on.
    #[track_caller]
    pub const fn error(&mut self, message: Message) -> Type {
        if self.errors == self.raise {
            panic!("{}", message.get());
        }
        if self.errors == 0 {
            self.first = message;
        }
        self.errors += 1;
        Type::Unknown
    }

    /// The number of errors so far.
    pub const fn errors(&self) -> usize {
        self.errors
    }

    /// The first error, if there was one.
    pub const fn first(&self) -> Option<&str> {
        if self.errors > 0 { Some(self.first.get()) } else { None }
    }
}

/// The quotient of two sizes; one that leaves a remainder is an error.
#[track_caller]
pub const fn divide(cx: &mut Check, a: Dim, b: Dim) -> Dim {
    match a.over(b) {
        Some(quotient) => quotient,
        None => {
            cx.error(Message::new().dim(b).str(" does not divide ").dim(a));
            Dim::UNKNOWN
        }
    }
}

/// Reports parameter `id`, called `name`, unless the gradient of the loss `y` reaches it.
#[track_caller]
pub const fn parameter(cx: &mut Check, y: Type, id: usize, name: Message) {
    let Type::Tensor(loss) = y else { return };
    if id >= ParamSet::CAPACITY || loss.reach.has(id) {
        return;
    }
    let message = Message::new().str("parameter `").str(name.get());
    cx.error(if loss.cut.has(id) {
        message.str("` gets no gradient: every way to the loss goes through an operation without one (`stop_gradient` says that this is meant)")
    } else {
        message.str("` cannot influence the loss: use it, or remove it")
    });
}

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

    /// A tensor of this declaration, on which a function can be checked by itself.
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
        }
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

    /// What a declaration says of a value that nothing else is known of, because of a mistake on
    /// the way to it: so mistakes behind it are found too.
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

    /// A declared shape with the symbols of this call put in.
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

    /// What the symbol `letter` is in this call.
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

    /// A declared dimension with the symbols of this call put in.
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

    /// The same for a whole shape, with the letters of those that are not bound yet.
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
