//! How each of PyTorch's operations is built: by its name, from the arguments of a case.

#[macro_use]
pub mod tape;
pub mod case;

mod elementwise;
mod index;
mod layout;
mod loss;
mod norm;
mod product;
mod reduce;
mod resample;
mod window;

use std::collections::HashMap;

use case::Case;
use tape::T;

/// Stages the outputs of a case.
pub type Builder = fn(&mut Case<'_>) -> Vec<T>;

/// All operations by name.
pub fn table() -> HashMap<&'static str, Builder> {
    let parts = [
        elementwise::TABLE,
        index::TABLE,
        layout::TABLE,
        loss::TABLE,
        norm::TABLE,
        product::TABLE,
        reduce::TABLE,
        resample::TABLE,
        window::TABLE,
    ];
    parts.concat().into_iter().collect()
}

/// What cannot be built, and why.
pub const UNSUPPORTED: &[(&str, &str)] = &[];

/// Operations that are compared with another tolerance than 1e-4: the relative one, how far numbers near
/// zero may be off, and why.
pub const TOLERANCES: &[(&str, f64, f64, &str)] = &[
    ("nn.functional.batch_norm", 1e-4, 1e-6, CANCELS),
    ("nn.functional.group_norm", 1e-4, 1e-6, CANCELS),
    ("nn.functional.instance_norm", 1e-4, 1e-6, CANCELS),
    ("nn.functional.layer_norm", 1e-4, 1e-6, CANCELS),
    ("nn.functional.normalize", 1e-4, 2e-5, CANCELS),
    (
        "nn.functional.scaled_dot_product_attention",
        1e-3,
        1e-6,
        "the exponential magnifies the rounding of scores near 100",
    ),
];

const CANCELS: &str = "the gradient of a row of few elements is the small difference of terms near one";
