//! Statements of forward functions, for staging or as a shape rule.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, Lit};

use super::{mentions, parens, tuple};
use crate::lower::ssa::{
    Arg, Block, Call, Callee, For, Function, If, Item, Kind, Meaning, Mode, Number, Over, Plain, Read, Site, Slices,
    Stmt, ValueId,
};
use crate::names::{Names, local, stem};
use crate::parse::dims::Dim;

/// Writes forward statements.
pub struct Forward<'a> {
    function: &'a Function,
    mode: Mode,
    names: Names,
    /// Statements that the expression at hand needs in front of it.
    prelude: TokenStream,
}

impl<'a> Forward<'a> {
    pub fn new(function: &'a Function, mode: Mode) -> Forward<'a> {
        Forward { function, mode, names: function.names.clone(), prelude: TokenStream::new() }
    }

    /// Statements, each with what it needs in front of it.
    pub fn stmts(&mut self, stmts: &[Stmt]) -> TokenStream {
        stmts.iter().map(|stmt| self.stmt(stmt)).collect()
    }

    /// A block that ends in its results.
    pub fn block(&mut self, block: &Block) -> TokenStream {
        if let Some((last, stmts)) = block.stmts.split_last()
            && yields(last, &block.results)
            && !block.results.is_empty()
        {
            let stmts = self.stmts(stmts);
            let (prelude, value) = self.with_prelude(|this| this.value(last));
            return quote!(#stmts #prelude #value);
        }
        let stmts = self.stmts(&block.stmts);
        let results: Vec<_> = block.results.iter().map(|value| self.name(*value)).collect();
        let results = tuple(&results);
        quote!(#stmts #results)
    }

    fn stmt(&mut self, stmt: &Stmt) -> TokenStream {
        match stmt {
            Stmt::For(source) => return self.for_stmt(source),
            Stmt::Let { plain, out: None }
                if self.mode == Mode::Shape && matches!(plain.meaning, Meaning::Number(_)) =>
            {
                return TokenStream::new();
            }
            _ => {}
        }
        let (prelude, value) = self.with_prelude(|this| this.value(stmt));
        if let Stmt::Call(Call { outs, list: true, .. }) = stmt {
            let outs = outs.iter().map(|out| self.pattern(*out));
            return quote!(#prelude let [#(#outs),*] = #value;);
        }
        let outs: Vec<_> = outs(stmt).into_iter().flatten().map(|out| self.pattern(out)).collect();
        if outs.is_empty() {
            return quote!(#prelude #value);
        }
        let outs = tuple(&outs);
        quote!(#prelude let #outs = #value;)
    }

    fn with_prelude(&mut self, write: impl FnOnce(&mut Self) -> TokenStream) -> (TokenStream, TokenStream) {
        let outer = std::mem::take(&mut self.prelude);
        let value = write(self);
        (std::mem::replace(&mut self.prelude, outer), value)
    }

    /// The right side of a statement.
    fn value(&mut self, stmt: &Stmt) -> TokenStream {
        match stmt {
            Stmt::Call(call) => self.call(call),
            Stmt::Field { place, .. } => {
                let place = &place.expr;
                match self.mode {
                    Mode::Stage => quote!(g.field(&#place)),
                    Mode::Shape => quote!(::downhill::check::Const(#place).arg()),
                }
            }
            Stmt::Number { plain, .. } => match self.mode {
                Mode::Stage => {
                    let number = &plain.expr;
                    quote!(::downhill::Value::from(#number))
                }
                Mode::Shape => self.plain(plain),
            },
            Stmt::Let { plain, .. } => match (&plain.meaning, self.mode) {
                (Meaning::Size(dim), Mode::Shape) => self.named_dim(dim),
                (Meaning::Sizes(_) | Meaning::Number(_), Mode::Shape) => self.plain(plain),
                _ => plain.expr.to_token_stream(),
            },
            Stmt::If(source) => self.if_expr(source),
            Stmt::For(source) => self.for_stmt(source),
        }
    }

    fn call(&mut self, call: &Call) -> TokenStream {
        let (prefix, context) = match self.mode {
            Mode::Stage => ("stage", stage_at(call.site)),
            Mode::Shape => ("shape", quote!(cx)),
        };
        let args: Vec<_> = call.args.iter().map(|arg| self.arg(arg)).collect();
        callee(call, prefix, quote!(#context #(, #args)*))
    }

    /// An argument of a call.
    pub fn arg(&mut self, arg: &Arg) -> TokenStream {
        match arg {
            Arg::Value(read) => self.read(read).to_token_stream(),
            Arg::List(list) => {
                let list = list.iter().map(|read| self.read(read));
                quote!([#(#list),*])
            }
            Arg::Plain(plain) => match self.mode {
                Mode::Stage => plain.expr.to_token_stream(),
                Mode::Shape => self.plain(plain),
            },
        }
    }

    /// A plain expression as an argument of a shape rule.
    fn plain(&mut self, plain: &Plain) -> TokenStream {
        let expr = &plain.expr;
        match &plain.meaning {
            Meaning::Number(Number::Itself) if plain.reads.is_empty() => quote!(::downhill::check::Type::number(#expr)),
            Meaning::Number(Number::Itself) => quote!(#expr),
            Meaning::Number(Number::Computed(sizes)) if sizes.is_empty() => {
                quote!(::downhill::check::Const(#expr).arg())
            }
            Meaning::Number(Number::Computed(sizes)) => quote! {
                match (#(#sizes.get(),)*) {
                    (#(Some(#sizes),)*) => ::downhill::check::Const(#expr).arg(),
                    _ => ::downhill::check::Type::Number(None),
                }
            },
            Meaning::Number(Number::Unknown) => quote!(::downhill::check::Type::Number(None)),
            Meaning::Size(dim) => {
                let dim = self.dim(dim);
                quote!(::downhill::check::Type::Dim(#dim))
            }
            Meaning::Sizes(dims) => {
                let dims: Vec<_> = dims.iter().map(|dim| self.dim(dim)).collect();
                quote!(::downhill::check::Type::dims(&[#(#dims),*]))
            }
            Meaning::Constant => match &**expr {
                Expr::Lit(lit) if matches!(lit.lit, Lit::Str(_)) => quote!(#lit),
                Expr::Lit(lit) if matches!(lit.lit, Lit::Bool(_)) => quote!(::downhill::check::Type::Bool(#lit)),
                Expr::Path(_) if self.reads_list(plain) => quote!(#expr),
                _ => quote!(::downhill::check::Const(#expr).arg()),
            },
        }
    }

    fn reads_list(&self, plain: &Plain) -> bool {
        plain.reads.iter().any(|value| self.function.values[value.0].kind == Kind::Sizes)
    }

    fn dim(&mut self, dim: &Dim) -> TokenStream {
        let Forward { names, prelude, .. } = self;
        dim.value(&mut |a, b, span| {
            let name = names.numbered(&format_ident!("size"));
            let quotient = divide(a, b, span);
            prelude.extend(quote!(let #name = #quotient;));
            name.to_token_stream()
        })
    }

    /// A size that gets a name of its own, so that a quotient needs no other.
    fn named_dim(&mut self, dim: &Dim) -> TokenStream {
        match dim {
            Dim::Quotient(a, span, b) => divide(self.dim(a), self.dim(b), *span),
            _ => self.dim(dim),
        }
    }

    fn if_expr(&mut self, source: &If) -> TokenStream {
        let condition = &source.condition.expr;
        let (then, other) = (self.block(&source.then), self.block(&source.other));
        if source.training && self.mode == Mode::Shape {
            return self.either(source, then, other);
        }
        if other.is_empty() { quote!(if #condition { #then }) } else { quote!(if #condition { #then } else { #other }) }
    }

    /// Both branches of `if training()`, which must come to the same shapes.
    fn either(&mut self, source: &If, then: TokenStream, other: TokenStream) -> TokenStream {
        let span = source.condition.expr.span();
        let mut names = |base| -> Vec<Ident> {
            source.outs.iter().map(|_| self.names.numbered(&Ident::new(base, Span::call_site()))).collect()
        };
        let (a, b) = (names("training"), names("otherwise"));
        if a.is_empty() {
            return quote!({ { #then } { #other } });
        }
        let either = a.iter().zip(&b).map(|(a, b)| {
            let args = parens(span, quote!(cx, #a, #b));
            quote_spanned!(span=> ::downhill::check::Check::either #args)
        });
        let (either, a, b) = (tuple(&either.collect::<Vec<_>>()), tuple(&a), tuple(&b));
        quote!({ let #a = { #then }; let #b = { #other }; #either })
    }

    fn for_stmt(&mut self, source: &For) -> TokenStream {
        let vars = source.carried.iter().map(|carried| {
            let (var, init) = (self.name(carried.inner), self.name(carried.init));
            quote!(let mut #var = #init;)
        });
        let vars: TokenStream = vars.collect();
        let array = match &source.over {
            Over::Networks(array) => &array.expr,
            Over::Slices(slices) => return self.for_slices(source, slices, vars),
        };
        let Item { value: item, read: reads_item } = source.items[0];
        let item = self.name(item);
        let body = self.loop_body(source);
        match self.mode {
            Mode::Stage => {
                let (declare, push) = self.saving(source);
                let item = if reads_item { quote!(#item) } else { quote!(_) };
                match self.enter(source.site, &body) {
                    Some((i, enter)) => {
                        quote!(#vars #declare for (#i, #item) in #array.iter().enumerate() { #enter #push #body })
                    }
                    None => quote!(#vars #declare for #item in &#array { #push #body }),
                }
            }
            Mode::Shape => {
                let i = self.names.numbered(&format_ident!("i"));
                let item = reads_item.then(|| quote!(let #item = &#array[#i];));
                quote! {
                    #vars
                    let mut #i = 0;
                    while #i < #array.len() {
                        #item
                        #body
                        #i += 1;
                    }
                }
            }
        }
    }

    /// What an iteration of a numbered loop begins with, and its own number, if its body stages something.
    pub fn enter(&mut self, site: Option<Site>, body: &TokenStream) -> Option<(Ident, TokenStream)> {
        let site = site.filter(|_| mentions(body, "g"))?;
        let i = self.names.numbered(&format_ident!("i"));
        Some((i.clone(), quote!(let g = &mut g.iteration(#site, #i);)))
    }

    /// What a loop leaves behind for its gradient.
    fn saving(&self, source: &For) -> (Option<TokenStream>, Option<TokenStream>) {
        let saved = source.saved.as_ref().map(|saved| {
            let values: Vec<_> = saved.values.iter().map(|value| self.name(*value)).collect();
            (&saved.name, tuple(&values))
        });
        let declare = saved.as_ref().map(|(name, _)| quote!(let mut #name = ::std::vec::Vec::new();));
        let push = saved.map(|(name, values)| quote!(#name.push(#values);));
        (declare, push)
    }

    /// A loop over slices of tensors. How many there are may be open in a shape rule, which goes round
    /// often enough for every carried variable to depend on all that it can depend on.
    fn for_slices(&mut self, source: &For, slices: &Slices, vars: TokenStream) -> TokenStream {
        let path = &slices.path;
        let (prelude, tensors, axis) = self.cut(slices);
        let items = self.items(&source.items);
        let outs: Vec<_> = source.outs.iter().map(|out| self.name(*out)).collect();
        let (next, yielded) = source.body.results.split_at(source.carried.len());
        let yielded: Vec<_> = yielded.iter().map(|slice| self.name(*slice)).collect();
        let next: Vec<_> = next.iter().map(|value| self.name(*value)).collect();
        let carried: Vec<_> = source.carried.iter().map(|carried| self.name(carried.inner)).collect();
        let body = self.stmts(&source.body.stmts);
        let call = |name: &str, args: TokenStream| {
            let function = Ident::new(name, path.segments.last().map_or(slices.span, |segment| segment.ident.span()));
            let args = parens(slices.span, args);
            quote_spanned!(slices.span=> #path::#function #args)
        };
        match self.mode {
            Mode::Stage => {
                let (declare, push) = self.saving(source);
                let cut = call("stage", quote!(g, [#(#tensors),*], #axis));
                let lists: Vec<_> = outs.iter().map(|out| self.names.numbered(out)).collect();
                let next = assign(&carried, &next);
                let stacks = lists.iter().map(|list| call("stack", quote!(g, &#list, #axis)));
                let (walk, enter) = match self.enter(source.site, &body) {
                    Some((i, enter)) => (quote!((#i, #items) in #cut.into_iter().enumerate()), Some(enter)),
                    None => (quote!(#items in #cut), None),
                };
                quote! {
                    #vars
                    #declare
                    #(let mut #lists = ::std::vec::Vec::new();)*
                    for #walk {
                        #enter
                        #push
                        #body
                        #(#lists.push(#yielded);)*
                        #next
                    }
                    #(let #outs = #stacks;)*
                }
            }
            Mode::Shape => {
                let cut = call("shape", quote!(cx, [#(#tensors),*], #axis));
                let [errors, round] = ["errors", "round"].map(|name| self.names.numbered(&format_ident!("{name}")));
                let rounds = Literal::usize_unsuffixed(carried.len() + 1);
                let names = carried.iter().map(|name| stem(name).to_string());
                let same = carried.iter().zip(&next).zip(names).map(|((before, after), name)| {
                    let args = parens(slices.span, quote!(cx, #name, #before, #after));
                    quote_spanned!(slices.span=> ::downhill::check::carried #args)
                });
                let same: Vec<_> = same.collect();
                let (assigned, same) = (tuple(&carried), tuple(&same));
                let assign = (!carried.is_empty()).then(|| quote!(#assigned = #same;));
                let stacks = outs.iter().map(|out| call("stack_shape", quote!(cx, #out, [#(#tensors),*], #axis)));
                quote! {
                    #prelude
                    let #items = #cut;
                    #vars
                    #(let mut #outs = ::downhill::check::Type::Unknown;)*
                    let #errors = cx.errors();
                    let mut #round = 0;
                    while #round < #rounds && cx.errors() == #errors {
                        #body
                        #(#outs = #yielded;)*
                        #assign
                        #round += 1;
                    }
                    #(let #outs = #stacks;)*
                }
            }
        }
    }

    /// The arguments of a function that cuts tensors into slices, with what they need in front of them.
    pub fn cut(&mut self, slices: &Slices) -> (TokenStream, Vec<Ident>, TokenStream) {
        let tensors = slices.tensors.iter().map(|read| self.read(read)).collect();
        let (prelude, axis) = self.with_prelude(|this| this.arg(&Arg::Plain(slices.axis.clone())));
        (prelude, tensors, axis)
    }

    /// The pattern that names the slices at hand.
    pub fn items(&self, items: &[Item]) -> TokenStream {
        let items = items.iter().map(|item| self.pattern(item.read.then_some(item.value)));
        quote!([#(#items),*])
    }

    /// Ends by passing the results on to the next iteration.
    fn loop_body(&mut self, source: &For) -> TokenStream {
        let Block { stmts, results } = &source.body;
        if let Some((last, stmts)) = stmts.split_last()
            && let [carried] = source.carried[..]
            && yields(last, results)
        {
            let stmts = self.stmts(stmts);
            let (prelude, value) = self.with_prelude(|this| this.value(last));
            let var = self.name(carried.inner);
            return quote!(#stmts #prelude #var = #value;);
        }
        let stmts = self.stmts(stmts);
        let vars: Vec<_> = source.carried.iter().map(|carried| self.name(carried.inner)).collect();
        let next: Vec<_> = results.iter().map(|value| self.name(*value)).collect();
        let next = assign(&vars, &next);
        quote!(#stmts #next)
    }

    fn name(&self, value: ValueId) -> &'a Ident {
        self.function.name(value)
    }

    fn read(&self, read: &Read) -> Ident {
        let mut name = self.name(read.value).clone();
        name.set_span(local(read.span));
        name
    }

    fn pattern(&self, out: Option<ValueId>) -> TokenStream {
        out.map_or(quote!(_), |out| self.name(out).to_token_stream())
    }
}

/// The outputs of a statement, if it yields them as they are; a loop has none, it assigns, and a list
/// must be taken apart.
fn outs(stmt: &Stmt) -> Option<Vec<Option<ValueId>>> {
    match stmt {
        Stmt::Call(Call { list: true, .. }) => None,
        Stmt::Call(call) => Some(call.outs.clone()),
        Stmt::Field { out, .. } | Stmt::Number { out, .. } | Stmt::Let { out, .. } => Some(vec![*out]),
        Stmt::If(source) => Some(source.outs.iter().copied().map(Some).collect()),
        Stmt::For(_) => None,
    }
}

/// Whether a statement yields just these values.
fn yields(stmt: &Stmt, results: &[ValueId]) -> bool {
    outs(stmt).is_some_and(|outs| outs.into_iter().eq(results.iter().copied().map(Some)))
}

fn divide(a: TokenStream, b: TokenStream, span: Span) -> TokenStream {
    let divide = quote_spanned!(span=> ::downhill::check::divide);
    let args = parens(span, quote!(cx, #a, #b));
    quote!(#divide #args)
}

/// Assigns at once, so that no new value is read in place of an old one.
pub fn assign(vars: &[&Ident], values: &[&Ident]) -> TokenStream {
    let changed = vars.iter().zip(values).filter(|(var, value)| var != value);
    let (vars, values): (Vec<&Ident>, Vec<&Ident>) = changed.unzip();
    if vars.is_empty() {
        return TokenStream::new();
    }
    let (vars, values) = (tuple(&vars), tuple(&values));
    quote!(#vars = #values;)
}

/// The stage for a call of this number.
pub fn stage_at(site: Option<Site>) -> TokenStream {
    site.map_or(quote!(g), |site| quote!(&mut g.at(#site)))
}

impl ToTokens for Site {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        Literal::u32_unsuffixed(self.0).to_tokens(tokens);
    }
}

/// The function `prefix` of what is called, at the place of the user's call.
pub fn callee(call: &Call, prefix: &str, args: TokenStream) -> TokenStream {
    let args = parens(call.span, args);
    match &call.callee {
        Callee::Function { path, .. } => {
            let span = path.segments.last().map_or(call.span, |segment| segment.ident.span());
            let function = Ident::new(prefix, span);
            quote_spanned!(span=> #path::#function #args)
        }
        Callee::Method { place, name } => {
            let place = &place.expr;
            let function = format_ident!("{prefix}_{name}", span = name.span());
            quote!(#place.#function #args)
        }
    }
}
