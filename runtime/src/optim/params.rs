//! Which parameters a setting is for.

use crate::network::ParamInfo;

/// Which parameters a setting is for: a pattern of their names, in which `*` stands for any
/// characters, or a closure.
///
/// ```
/// use downhill::ParamInfo;
/// use downhill::optim::Params;
///
/// let bias = ParamInfo { name: "blocks.0.up.bias", shape: &[64] };
/// assert!("*.bias".hold(bias) && "blocks.*.up.*".hold(bias) && "blocks.0.up.bias".hold(bias));
/// assert!(!"bias".hold(bias) && !"*.weight".hold(bias));
/// let flat = |p: ParamInfo| p.shape.len() < 2;
/// assert!(flat.hold(bias));
/// ```
pub trait Params: Send + Sync {
    /// Whether a parameter is one of them.
    fn hold(&self, param: ParamInfo<'_>) -> bool;

    /// The pattern, if it is one: a pattern that fits no parameter is refused, since it is
    /// misspelt.
    fn pattern(&self) -> Option<&str> {
        None
    }
}

impl<F: Fn(ParamInfo<'_>) -> bool + Send + Sync> Params for F {
    fn hold(&self, param: ParamInfo<'_>) -> bool {
        self(param)
    }
}

impl Params for &str {
    fn hold(&self, param: ParamInfo<'_>) -> bool {
        fits(self, param.name)
    }

    fn pattern(&self) -> Option<&str> {
        Some(self)
    }
}

impl Params for String {
    fn hold(&self, param: ParamInfo<'_>) -> bool {
        fits(self, param.name)
    }

    fn pattern(&self) -> Option<&str> {
        Some(self)
    }
}

/// Whether a name is what a pattern says.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').map_or((None, rest), |(middle, last)| (Some(middle), last));
    for part in middle.into_iter().flat_map(|middle| middle.split('*')) {
        // The first place is as good as any, for what follows may be anywhere behind it.
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns() {
        for pattern in ["*", "**", "a.b.c", "a.*", "*.c", "a*c", "*b*", "*.b.*", "a*.*c", "a.b.c*", "*a.b.c"] {
            assert!(fits(pattern, "a.b.c"), "{pattern}");
        }
        for pattern in ["", "a.b", "b.c", "a.*.b.c", "*.b", "a.b.c.*", "*c*c", "a.b*b.c", "a.b.c*c"] {
            assert!(!fits(pattern, "a.b.c"), "{pattern}");
        }
    }
}
