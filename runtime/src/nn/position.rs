//! Rotary position embedding.

use crate::network;
use crate::ops::*;

/// Rotary position embedding (Su et al., arXiv:2104.09864): at place t, counted from `offset`, the pair i
/// of D features is turned by the angle t base^(-2i/D). The product of a query and a key that are both
/// turned depends on their distance alone. `[.., T, D]`, D even.
///
/// Feature i makes a pair with feature i + D/2, as in GPT-NeoX and Llama; [`rotary_interleaved`] pairs
/// neighbours. The usual base is 10 000. `offset` is for places that follow others, as when text is
/// continued.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([2, 2], [1.0, 0.0, 1.0, 0.0])?);
/// let y = rotary::stage(&mut g, x, 10_000.0, 0);
/// let y = g.value(y)?;
/// // The first place is not turned, the second one by one radian.
/// assert_eq!(y.data()[..2], [1.0, 0.0]);
/// assert!((y.data()[2] - 1f32.cos()).abs() < 1e-6 && (y.data()[3] - 1f32.sin()).abs() < 1e-6);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn rotary(x: Tensor<[N], T, D>, base: f32, offset: usize) -> Tensor<[N], T, D> {
    let (a, b) = halves(x, false);
    let (cosine, sine) = turns(a, base, offset);
    concat([a * cosine - b * sine, b * cosine + a * sine], -1)
}

/// [`rotary`] with neighbours 2i and 2i + 1 as pairs, as in the paper and in GPT-J.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 4], [1.0, 2.0, 3.0, 4.0])?);
/// let y = rotary_interleaved::stage(&mut g, x, 10_000.0, 0);
/// assert_eq!(g.value(y)?.data(), [1.0, 2.0, 3.0, 4.0]);
/// # Ok::<(), downhill::Error>(())
/// ```
#[network(track_caller)]
pub fn rotary_interleaved(x: Tensor<[N], T, D>, base: f32, offset: usize) -> Tensor<[N], T, D> {
    let (a, b) = halves(x, true);
    let (cosine, sine) = turns(a, base, offset);
    let pairs = concat([unsqueeze(a * cosine - b * sine, -1), unsqueeze(b * cosine + a * sine, -1)], -1);
    flatten(pairs, -2, -1)
}

/// The cosine and sine of the angle of every place and pair, for one half of the features.
#[network(track_caller)]
fn turns(half: Tensor<[N], T, P>, base: f32, offset: usize) -> (Tensor<T, P>, Tensor<T, P>) {
    let frequency = exp(float(iota(P)) * (-base.ln() / P as f32));
    let angle = unsqueeze(float(iota(T)) + offset as f32, 1) * frequency;
    (cos(angle), sin(angle))
}
