//! Statements of backward functions.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};

use super::forward::{Forward, assign, callee, stage_at};
use super::tuple;
use crate::gradient::{Back, BackBlock, BackFor, BackSlices, DArg, GradId, Gradient};
use crate::lower::ssa::{Call, Function, Item, Mode, Over, Slices};

/// Writes the statements of a gradient.
pub struct Backward<'a> {
    function: &'a Function,
    gradient: &'a Gradient,
    forward: Forward<'a>,
}

impl<'a> Backward<'a> {
    pub fn new(function: &'a Function, gradient: &'a Gradient) -> Backward<'a> {
        Backward { function, gradient, forward: Forward::new(function, Mode::Stage) }
    }

    /// A block that ends in its results.
    pub fn block(&mut self, block: &BackBlock) -> TokenStream {
        let forward = self.forward.stmts(&block.forward);
        if let Some((last, stmts)) = block.stmts.split_last()
            && outs(last).is_some_and(|outs| outs == block.results)
        {
            let stmts = self.stmts(stmts);
            let value = self.value(last);
            return quote!(#forward #stmts #value);
        }
        let stmts = self.stmts(&block.stmts);
        let results: Vec<_> = block.results.iter().map(|grad| self.grad(*grad)).collect();
        let results = tuple(&results);
        quote!(#forward #stmts #results)
    }

    fn stmts(&mut self, stmts: &[Back]) -> TokenStream {
        stmts.iter().map(|stmt| self.stmt(stmt)).collect()
    }

    fn stmt(&mut self, stmt: &Back) -> TokenStream {
        let value = self.value(stmt);
        match stmt {
            Back::Call { dargs, .. } => {
                if dargs.iter().all(|darg| matches!(darg, DArg::None)) {
                    return quote!(#value;);
                }
                let dargs: Vec<_> = dargs.iter().map(|darg| self.darg(darg)).collect();
                let dargs = tuple(&dargs);
                quote!(let #dargs = #value;)
            }
            Back::Sum { out, a, .. } => {
                let name = self.name(*out);
                if out == a { quote!(#name = #value;) } else { quote!(let #name = #value;) }
            }
            Back::Accumulate { .. } => quote!(#value;),
            Back::If { outs, .. } if outs.is_empty() => value,
            Back::If { outs, .. } => {
                let outs: Vec<_> = outs.iter().map(|out| self.name(*out)).collect();
                let outs = tuple(&outs);
                quote!(let #outs = #value;)
            }
            Back::For(_) => value,
        }
    }

    /// The right side of a statement.
    fn value(&mut self, stmt: &Back) -> TokenStream {
        match stmt {
            Back::Call { call, douts, .. } => self.call(call, douts),
            Back::Sum { a, b, .. } => {
                let (a, b) = (self.name(*a), self.name(*b));
                quote!(g.add(#a, #b))
            }
            Back::Accumulate { place, d } => {
                let (place, d) = (&place.expr, self.name(*d));
                quote!(g.accumulate(&#place, #d))
            }
            Back::If { condition, then, other, .. } => {
                let condition = &condition.expr;
                let (then, other) = (self.block(then), self.block(other));
                if other.is_empty() {
                    quote!(if #condition { #then })
                } else {
                    quote!(if #condition { #then } else { #other })
                }
            }
            Back::For(source) => self.for_stmt(source),
        }
    }

    fn call(&mut self, call: &Call, douts: &[Option<GradId>]) -> TokenStream {
        let args: Vec<_> = call.args.iter().map(|arg| self.forward.arg(arg)).collect();
        let douts: Vec<_> = douts.iter().map(|dout| self.grad(*dout)).collect();
        let dout = if call.list { quote!([#(#douts),*]) } else { tuple(&douts) };
        let g = match (call.checkpoint, call.site) {
            (true, Some(site)) => quote!(&mut g.at(#site).recompute(true)),
            (true, None) => quote!(&mut g.recompute(true)),
            (false, site) => stage_at(site),
        };
        callee(call, "grad", quote!(#g, #(#args,)* #dout))
    }

    fn for_stmt(&mut self, source: &BackFor) -> TokenStream {
        let vars: Vec<&Ident> = source.vars.iter().map(|(var, _)| self.name(*var)).collect();
        let declare: TokenStream = (source.vars.iter().zip(&vars))
            .map(|((_, start), var)| match start {
                Some(start) => {
                    let start = self.name(*start);
                    quote!(let mut #var = #start;)
                }
                None => quote!(let mut #var: ::downhill::Grad = None;),
            })
            .collect();
        let array = match (&source.over, &source.slices) {
            (Over::Networks(array), _) => &array.expr,
            (Over::Slices(slices), Some(back)) => return self.for_slices(source, slices, back, declare, &vars),
            (Over::Slices(_), None) => unreachable!("a loop over slices has their gradients"),
        };
        let Item { value: item, read: reads_item } = source.items[0];
        let item = self.function.name(item);
        let item = if reads_item { quote!(#item) } else { quote!(_) };
        let body = self.loop_body(&source.body, &vars);
        let (item, walk, enter) = match self.forward.enter(source.site, &body) {
            Some((i, enter)) => (quote!((#i, #item)), quote!(#array.iter().enumerate()), Some(enter)),
            None => (item, quote!(#array.iter()), None),
        };
        let header = match &source.saved {
            Some(saved) => {
                let values: Vec<_> = saved.values.iter().map(|value| self.function.name(*value)).collect();
                let (name, values) = (&saved.name, tuple(&values));
                quote!(for (#item, #values) in #walk.zip(#name).rev())
            }
            None => quote!(for #item in #walk.rev()),
        };
        quote!(#declare #header { #enter #body })
    }

    /// A loop over slices, last one first, with the slices of what the gradients of outputs are.
    fn for_slices(
        &mut self,
        source: &BackFor,
        slices: &Slices,
        back: &BackSlices,
        declare: TokenStream,
        vars: &[&Ident],
    ) -> TokenStream {
        let path = &slices.path;
        let (prelude, tensors, axis) = self.forward.cut(slices);
        let BackSlices { name, douts, dname, dtensors } = back;
        let forward = self.forward.stmts(&source.body.forward);
        let stmts = self.stmts(&source.body.stmts);
        let items = self.forward.items(&source.items);
        let (mut pattern, mut walk, enter) = match self.forward.enter(source.site, &quote!(#forward #stmts)) {
            Some((i, enter)) => (quote!((#i, #items)), quote!(#name.iter().copied().enumerate()), Some(enter)),
            None => (items, quote!(#name.iter().copied()), None),
        };
        for (dout, slice) in douts {
            let (dout, slice) = (self.name(*dout), self.name(*slice));
            pattern = quote!((#pattern, #slice));
            walk = quote!(#walk.zip(#path::unstack(g, #dout, #name.len(), #axis)));
        }
        if let Some(saved) = &source.saved {
            let values: Vec<_> = saved.values.iter().map(|value| self.function.name(*value)).collect();
            let (saved, values) = (&saved.name, tuple(&values));
            pattern = quote!((#pattern, #values));
            walk = quote!(#walk.zip(#saved));
        }
        let next = self.pass_on(&source.body.results, vars);
        let grads = |which: fn(&(GradId, GradId)) -> GradId| {
            let grads = dtensors.iter().map(|pair| pair.as_ref().map(which));
            grads.collect::<Vec<_>>()
        };
        let slice_grads: Vec<_> = grads(|pair| pair.0).into_iter().map(|grad| self.grad(grad)).collect();
        let whole = grads(|pair| pair.1);
        let whole = whole.iter().map(|grad| grad.map_or(quote!(_), |grad| self.name(grad).to_token_stream()));
        let begin = dname.as_ref().map(|dname| quote!(let mut #dname = ::std::vec::Vec::new();));
        let push = dname.as_ref().map(|dname| quote!(#dname.push([#(#slice_grads),*]);));
        let end =
            dname.as_ref().map(|dname| quote!(let [#(#whole),*] = #path::grad(g, [#(#tensors),*], #axis, &#dname);));
        quote! {
            #prelude
            #declare
            let #name = #path::stage(g, [#(#tensors),*], #axis);
            #begin
            for #pattern in #walk.rev() {
                #enter
                #forward
                #stmts
                #push
                #next
            }
            #end
        }
    }

    /// Passes gradients on to the iteration before.
    fn pass_on(&self, results: &[Option<GradId>], vars: &[&Ident]) -> TokenStream {
        let none = Ident::new("None", proc_macro2::Span::call_site());
        let next: Vec<&Ident> = results.iter().map(|grad| grad.map_or(&none, |grad| self.name(grad))).collect();
        assign(&vars[..next.len()], &next)
    }

    /// Ends by passing the results on to the iteration before.
    fn loop_body(&mut self, body: &BackBlock, vars: &[&Ident]) -> TokenStream {
        let forward = self.forward.stmts(&body.forward);
        if let Some((last, stmts)) = body.stmts.split_last()
            && let ([result], [var, ..]) = (&body.results[..], vars)
            && outs(last).is_some_and(|outs| outs == [*result])
        {
            let stmts = self.stmts(stmts);
            let value = self.value(last);
            return quote!(#forward #stmts #var = #value;);
        }
        let stmts = self.stmts(&body.stmts);
        let next = self.pass_on(&body.results, vars);
        quote!(#forward #stmts #next)
    }

    fn name(&self, grad: GradId) -> &'a Ident {
        self.gradient.name(grad)
    }

    fn grad(&self, grad: Option<GradId>) -> TokenStream {
        grad.map_or(quote!(None), |grad| self.name(grad).to_token_stream())
    }

    fn darg(&self, darg: &DArg) -> TokenStream {
        match darg {
            DArg::None => quote!(_),
            DArg::One(grad) => self.name(*grad).to_token_stream(),
            DArg::List(list) => {
                let list = list.iter().map(|grad| match grad {
                    Some(grad) => self.name(*grad).to_token_stream(),
                    None => quote!(_),
                });
                quote!([#(#list),*])
            }
        }
    }
}

/// The gradients that a statement defines, if all that it yields are some.
fn outs(stmt: &Back) -> Option<Vec<Option<GradId>>> {
    match stmt {
        Back::Call { dargs, .. } => dargs
            .iter()
            .map(|darg| match darg {
                DArg::One(grad) => Some(Some(*grad)),
                DArg::None | DArg::List(_) => None,
            })
            .collect(),
        Back::Sum { out, a, .. } => (out != a).then(|| vec![Some(*out)]),
        Back::If { outs, .. } if !outs.is_empty() => Some(outs.iter().copied().map(Some).collect()),
        Back::If { .. } | Back::Accumulate { .. } | Back::For(_) => None,
    }
}
