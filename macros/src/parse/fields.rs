//! The fields of a network: parameters, states, options, layers and arrays of layers.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{Attribute, Expr, GenericArgument, Path, PathArguments, Token, Type, Visibility, parse_quote};

use super::dims::bare_type;
use super::signature::size_argument;
use crate::error::{Checked, Errors, Reported};

const INITIALISERS: &str = "`zeros`, `ones`, `constant(x)`, `normal(std)`, `uniform(low, high)` or `fan_in(n)`";

/// A field of a network.
pub struct Field {
    pub name: Ident,
    pub vis: Visibility,
    /// Documentation and whatever else the user put on it.
    pub attrs: Vec<Attribute>,
    pub kind: FieldKind,
}

/// What a field is.
pub enum FieldKind {
    Param {
        dims: Vec<Expr>,
        init: Expr,
        optional: bool,
    },
    /// Numbers that are no parameter and that the network assigns.
    State {
        dims: Vec<Expr>,
        init: Expr,
    },
    /// A plain value with a default.
    Option {
        ty: Type,
        default: Expr,
    },
    Layer(Layer),
    /// An array of equal layers.
    Layers(Layer, Expr),
}

/// A layer.
pub struct Layer {
    /// As written.
    pub ty: Type,
    /// The type without its sizes and those sizes, if they mention sizes of the network around.
    pub sized: Option<(Path, Vec<Expr>)>,
    /// `bias = false`: options that are set.
    pub options: Vec<(Ident, Expr)>,
    /// What the field is called in the names of parameters.
    pub rename: Option<syn::LitStr>,
}

impl Field {
    /// Reads a field; `own` are the sizes of the network.
    pub fn parse(field: &syn::Field, name: &Ident, own: &[Ident], errors: &mut Errors) -> Field {
        let mut parser = Parser { init: None, option: None, layer: None, checkpoint: None, errors };
        let attrs = field.attrs.iter().filter(|attr| !parser.take(attr)).cloned().collect();
        let kind = parser.kind(bare_type(&field.ty), own);
        parser.unused(&kind);
        Field { name: name.clone(), vis: field.vis.clone(), attrs, kind }
    }

    /// What the field is called in the names of parameters.
    pub fn path_name(&self) -> String {
        match &self.kind {
            FieldKind::Layer(Layer { rename: Some(name), .. })
            | FieldKind::Layers(Layer { rename: Some(name), .. }, _) => name.value(),
            _ => syn::ext::IdentExt::unraw(&self.name).to_string(),
        }
    }
}

/// What is wrong with a well-known type that is no layer. Of other types the compiler finds out,
/// but says it once for every use of the struct.
fn no_layer(ty: &Type) -> Option<&'static str> {
    let Type::Path(path) = ty else { return None };
    let name = path.path.segments.last()?.ident.to_string();
    match name.as_str() {
        "Tensor" | "Index" | "Mask" => {
            Some("a network holds no tensors: a parameter is a `Param<…>` with `#[init(…)]`")
        }
        "String" | "Vec" | "Option" | "Box" | "Rc" | "Arc" | "Cell" | "RefCell" | "Mutex" | "HashMap" | "BTreeMap" => {
            Some(
                "a field of a network is a layer, an array of layers, a `Param`, or a plain value with `#[option(default)]`",
            )
        }
        _ => None,
    }
}

/// The attributes of one field.
struct Parser<'a> {
    init: Option<(Attribute, Expr)>,
    option: Option<(Attribute, Expr)>,
    layer: Option<(Attribute, LayerArgs)>,
    checkpoint: Option<Attribute>,
    errors: &'a mut Errors,
}

#[derive(Default)]
struct LayerArgs {
    options: Vec<(Ident, Expr)>,
    rename: Option<syn::LitStr>,
}

impl Parser<'_> {
    /// Whether the attribute is one of ours, which is then kept.
    fn take(&mut self, attr: &Attribute) -> bool {
        let path = attr.path();
        if path.is_ident("init") {
            let init = self.errors.ok(attr.parse_args()).unwrap_or_else(|Reported| parse_quote!(zeros));
            self.init = Some((attr.clone(), init));
        } else if path.is_ident("option") {
            let default = self.errors.ok(attr.parse_args()).unwrap_or_else(|Reported| parse_quote!(0 as _));
            self.option = Some((attr.clone(), default));
        } else if path.is_ident("checkpoint") {
            if let Err(error) = attr.meta.require_path_only() {
                self.errors.push(error);
            }
            self.checkpoint = Some(attr.clone());
        } else if path.is_ident("layer") {
            let args = self.errors.ok(layer_args(attr)).unwrap_or_default();
            self.layer = Some((attr.clone(), args));
        } else {
            return false;
        }
        true
    }

    /// What the field is. A mistake is reported, and the field becomes something like it.
    fn kind(&mut self, ty: &Type, own: &[Ident]) -> FieldKind {
        if let Some((dims, optional)) = param(ty) {
            return self.param(ty, dims, optional);
        }
        if let Some(dims) = sized(ty, "State") {
            let (dims, init) = self.start(ty, dims, "state");
            return FieldKind::State { dims, init };
        }
        if let Some((_, default)) = self.option.take() {
            return FieldKind::Option { ty: ty.clone(), default };
        }
        if let Some(default) = plain_default(ty) {
            let shown = default.to_token_stream();
            self.errors.at(ty, format!("a plain value needs a default: write `#[option({shown})]`"));
            return FieldKind::Option { ty: ty.clone(), default };
        }
        if let Some(message) = no_layer(ty) {
            self.errors.at(ty, message);
            return self.placeholder();
        }
        match ty {
            Type::Path(_) => FieldKind::Layer(self.layer(ty, own)),
            Type::Array(array) if sized(&array.elem, "State").is_some() => {
                self.errors.at(ty, "an array of states: write one `State` with one more dimension");
                self.placeholder()
            }
            Type::Array(array) if param(&array.elem).is_some() => {
                self.errors.at(ty, "an array of parameters: write one `Param` with one more dimension");
                self.placeholder()
            }
            Type::Array(array) if matches!(*array.elem, Type::Path(_)) && plain_default(&array.elem).is_none() => {
                FieldKind::Layers(self.layer(&array.elem, own), array.len.clone())
            }
            _ => {
                self.errors.at(ty, "a field of a network is a layer, an array of layers, a `Param`, or a plain value with `#[option(default)]`");
                self.placeholder()
            }
        }
    }

    fn param(&mut self, ty: &Type, dims: &PathArguments, optional: bool) -> FieldKind {
        let (dims, init) = self.start(ty, dims, "parameter");
        FieldKind::Param { dims, init, optional }
    }

    /// The sizes of a parameter or state, and how it starts.
    fn start(&mut self, ty: &Type, dims: &PathArguments, what: &str) -> (Vec<Expr>, Expr) {
        let dims = sizes(dims, self.errors).unwrap_or_default();
        let init = match self.init.take() {
            Some((_, init)) => init,
            None => {
                self.errors.at(ty, format!("how does the {what} start? Write `#[init(…)]` on it: {INITIALISERS}"));
                parse_quote!(zeros)
            }
        };
        (dims, init)
    }

    fn layer(&mut self, ty: &Type, own: &[Ident]) -> Layer {
        let LayerArgs { mut options, rename } = self.layer.take().map(|(_, args)| args).unwrap_or_default();
        if let Some(attr) = self.checkpoint.take() {
            options.push((Ident::new("checkpoint", attr.path().span()), parse_quote!(true)));
        }
        let mut sized = None;
        if mentions(ty, own)
            && let Type::Path(path) = ty
        {
            let mut path = path.path.clone();
            let args = path.segments.last_mut().map(|last| std::mem::take(&mut last.arguments)).unwrap_or_default();
            sized = sizes(&args, self.errors).ok().map(|args| (path, args));
        }
        Layer { ty: ty.clone(), sized, options, rename }
    }

    fn placeholder(&self) -> FieldKind {
        FieldKind::Param { dims: Vec::new(), init: parse_quote!(zeros), optional: false }
    }

    /// Reports attributes that mean nothing on this kind of field.
    fn unused(&mut self, kind: &FieldKind) {
        let what = if matches!(kind, FieldKind::State { .. }) { "state" } else { "parameter" };
        if let Some((attr, _)) = &self.init {
            self.errors.at(attr, "`#[init(…)]` is for a parameter or state: a field of type `Param<…>` or `State<…>`");
        }
        if let Some((attr, _)) = &self.option {
            let message = format!("`#[option(…)]` is for a plain value, and this is a {what}: write `#[init(…)]`");
            self.errors.at(attr, message);
        }
        if let Some(attr) = &self.checkpoint {
            self.errors.at(attr, "`#[checkpoint]` is for a layer, whose values are then computed again");
        }
        if let Some((attr, _)) = &self.layer {
            let message = match kind {
                FieldKind::Option { .. } => "`#[layer(…)]` is for a layer, and this is a plain value".into(),
                _ => format!("`#[layer(…)]` is for a layer, and this is a {what}: write `#[init(…)]`"),
            };
            self.errors.at(attr, message);
        }
    }
}

/// `bias = false, name = "0"`.
fn layer_args(attr: &Attribute) -> syn::Result<LayerArgs> {
    let mut args = LayerArgs::default();
    attr.parse_args_with(|input: syn::parse::ParseStream| {
        while !input.is_empty() {
            let option: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            if option == "name" {
                args.rename = Some(input.parse()?);
            } else {
                args.options.push((option, input.parse()?));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    })?;
    Ok(args)
}

/// The dimensions of a type of this name.
fn sized<'t>(ty: &'t Type, name: &str) -> Option<&'t PathArguments> {
    let Type::Path(path) = ty else { return None };
    path.path.segments.last().filter(|last| last.ident == name).map(|last| &last.arguments)
}

/// The dimensions of `Param<…>` or `Option<Param<…>>`, and whether it is the latter.
fn param(ty: &Type) -> Option<(&PathArguments, bool)> {
    if let Some(dims) = sized(ty, "Param") {
        return Some((dims, false));
    }
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    match (&last.arguments, last.ident == "Option") {
        (PathArguments::AngleBracketed(args), true) => match args.args.first()? {
            GenericArgument::Type(inner) => param(inner).map(|(dims, _)| (dims, true)),
            _ => None,
        },
        _ => None,
    }
}

/// Some default for a plain type, to go on with after its absence was reported.
fn plain_default(ty: &Type) -> Option<Expr> {
    let Type::Path(path) = ty else { return None };
    match path.path.get_ident()?.to_string().as_str() {
        "f32" | "f64" => Some(parse_quote!(0.0)),
        "bool" => Some(parse_quote!(false)),
        "usize" | "isize" | "u8" | "u16" | "u32" | "u64" | "i8" | "i16" | "i32" | "i64" => Some(parse_quote!(0)),
        _ => None,
    }
}

/// The sizes in angle brackets.
fn sizes(args: &PathArguments, errors: &mut Errors) -> Checked<Vec<Expr>> {
    let args = match args {
        PathArguments::None => return Ok(Vec::new()),
        PathArguments::AngleBracketed(args) => args,
        PathArguments::Parenthesized(args) => return Err(errors.at(args, "sizes stand in `<…>`")),
    };
    let sizes = args.args.iter().map(|arg| {
        size_argument(arg)
            .ok_or_else(|| errors.at(arg, "a size is a constant, or an expression in braces such as `{ 4 * D }`"))
    });
    sizes.collect()
}

/// Whether a type mentions a size of the network that it is a field of.
fn mentions(ty: &Type, own: &[Ident]) -> bool {
    struct Mentions<'a>(&'a [Ident], bool);
    impl Visit<'_> for Mentions<'_> {
        fn visit_path(&mut self, path: &Path) {
            self.1 |= path.get_ident().is_some_and(|ident| self.0.contains(ident));
            syn::visit::visit_path(self, path);
        }
    }
    let mut mentions = Mentions(own, false);
    mentions.visit_type(ty);
    mentions.1
}

impl Layer {
    /// The type of a field of this layer.
    pub fn ty(&self) -> TokenStream {
        let ty = &self.ty;
        match &self.sized {
            Some((path, _)) => quote!(#path),
            None => quote!(<#ty as ::downhill::network::Layer>::Net),
        }
    }

    /// The value of a field of this layer.
    pub fn value(&self) -> TokenStream {
        let ty = &self.ty;
        let options = self.options.iter().map(|(option, value)| quote!(.#option(#value)));
        match &self.sized {
            Some((path, sizes)) => quote!(<#path>::new(#(#sizes),*) #(#options)*),
            None => quote!(<#ty as ::downhill::network::Layer>::NET #(#options)*),
        }
    }
}
