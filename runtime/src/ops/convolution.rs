//! The core of all convolutions.

use super::window::add_windows;
use super::{admitted, integer, number, numbers};
use crate::graph::{Grad, Stage, Value, Var};
use crate::shape::check::{Check, Message, Type};
use crate::shape::{Dim, Shape};

/// `convolve(x, weight, stride_h, stride_w, dilation_h, dilation_w)`:
/// The cross-correlation of images with kernels, group by group: `[B, G, C, H, W]` and `[G, O, C, K, L]`
/// give `[B, G, O, (H − (K − 1) dilation − 1) / stride + 1, …]`. What is outside of an image is not
/// read: an image is padded before. Strides and dilations come as height, width.
///
/// It is one product over views of the image, and so are its gradients where the stride is one.
///
/// ```
/// use downhill::prelude::*;
/// let mut g = Stage::new();
/// let x = g.constant(&Tensor::new([1, 1, 1, 2, 3], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?);
/// let weight = g.constant(&Tensor::new([1, 1, 1, 2, 2], [1.0, 0.0, 0.0, 1.0])?);
/// let y = convolve::stage(&mut g, x, weight, 1, 1, 1, 1);
/// assert_eq!(g.value(y)?, Tensor::new([1, 1, 1, 1, 2], [6.0, 8.0])?);
/// # Ok::<(), downhill::Error>(())
/// ```
#[allow(non_camel_case_types)]
pub enum convolve {}

/// Strides and dilations along the two axes of an image.
#[derive(Clone, Copy)]
struct Steps {
    stride: [usize; 2],
    dilation: [usize; 2],
}

impl Steps {
    fn of([stride_h, stride_w, dilation_h, dilation_w]: [Value; 4]) -> Steps {
        let n = |value| integer(value) as usize;
        Steps { stride: [n(stride_h), n(stride_w)], dilation: [n(dilation_h), n(dilation_w)] }
    }

    /// What kernels of size `[K, L]` cover: `[B, G, C, OH, K, OW, L]`.
    fn windows(self, g: &mut Stage, x: Var, size: [usize; 2]) -> Var {
        let mut view = x;
        for (i, axis) in [(1, 4), (0, 3)] {
            let (size, dilation, stride) = (size[i], self.dilation[i], self.stride[i]);
            let count = (g[x].shape[axis] - (size - 1) * dilation - 1) / stride + 1;
            view = g.windows(view, axis, 0, (count, stride as isize), (size, dilation as isize));
        }
        view
    }
}

/// The two sizes of the kernels `[G, O, C, K, L]`.
fn kernel_size(g: &Stage, weight: Var) -> [usize; 2] {
    [g[weight].shape[3], g[weight].shape[4]]
}

impl convolve {
    /// Stages the product.
    pub fn stage(
        g: &mut Stage,
        x: impl Into<Value>,
        weight: impl Into<Value>,
        stride_h: impl Into<Value>,
        stride_w: impl Into<Value>,
        dilation_h: impl Into<Value>,
        dilation_w: impl Into<Value>,
    ) -> Value {
        let steps = [stride_h.into(), stride_w.into(), dilation_h.into(), dilation_w.into()];
        let (x, weight) = (x.into(), weight.into());
        let (tx, tw, [sh, sw, dh, dw]) = (g.ty(x), g.ty(weight), steps.map(|step| g.ty(step)));
        admitted(
            g,
            |cx| Self::shape(cx, tx, tw, sh, sw, dh, dw),
            &[x, weight],
            |g, v| {
                let size = kernel_size(g, v[1]);
                let windows = Steps::of(steps).windows(g, v[0], size);
                // Places of a row come last: they are what lies one behind the other.
                let windows = g.transpose(windows, &[0, 1, 2, 3, 4, 6, 5]);
                g.contract(v[1], windows, "gockl,bgchklw->bgohw")
            },
        )
    }

    /// Stages the gradients: that of the kernels is the product of the result's with what they cover, that
    /// of the image a convolution of the result's with the kernels turned around.
    #[allow(clippy::too_many_arguments)]
    pub fn grad(
        g: &mut Stage,
        x: impl Into<Value>,
        weight: impl Into<Value>,
        stride_h: impl Into<Value>,
        stride_w: impl Into<Value>,
        dilation_h: impl Into<Value>,
        dilation_w: impl Into<Value>,
        dout: Grad,
    ) -> (Grad, Grad, Grad, Grad, Grad, Grad) {
        let (x, weight) = (x.into(), weight.into());
        let steps = [stride_h.into(), stride_w.into(), dilation_h.into(), dilation_w.into()];
        let (tx, tw, [sh, sw, dh, dw]) = (g.ty(x), g.ty(weight), steps.map(|value| g.ty(value)));
        let dout = super::fitting(g, "convolve", |cx| Self::shape(cx, tx, tw, sh, sw, dh, dw), dout);
        let (Some(x), Some(weight), Some(dout)) = (g.operand(x), g.operand(weight), dout) else {
            return (None, None, None, None, None, None);
        };
        let steps = Steps::of(steps);
        let size = kernel_size(g, weight);
        let taken = g.rows_taken(dout, 0b11110);
        let images = g.only_taken(taken, x);
        let windows = steps.windows(g, images, size);
        let windows = g.transpose(windows, &[0, 1, 2, 3, 4, 6, 5]);
        let dweight = g.contract(dout, windows, "bgohw,bgchklw->gockl");
        let shape = g[x].shape.clone();
        let dx = if steps.stride == [1, 1] {
            turned(g, dout, weight, steps.dilation, &shape)
        } else {
            let parts = g.contract(weight, dout, "gockl,bgohw->bgchkwl");
            let rows = add_windows(g, parts, 5, shape[4], steps.stride[1], steps.dilation[1]);
            add_windows(g, rows, 3, shape[3], steps.stride[0], steps.dilation[0])
        };
        let dx = g.only_taken(taken, dx);
        (Some(dx), Some(dweight), None, None, None, None)
    }

    /// The shape rule.
    #[track_caller]
    pub const fn shape(
        cx: &mut Check,
        x: Type,
        weight: Type,
        stride_h: Type,
        stride_w: Type,
        dilation_h: Type,
        dilation_w: Type,
    ) -> Type {
        let (Some(x), Some(w)) = (numbers(cx, "convolve", x), numbers(cx, "convolve", weight)) else {
            return Type::Unknown;
        };
        let (steps, dilations) = ([stride_h, stride_w], [dilation_h, dilation_w]);
        if x.shape.rank() != 5 || w.shape.rank() != 5 {
            let message = Message::new().str("convolve: expected [B, G, C, H, W] and [G, O, C, K, L], found ");
            return cx.error(message.shape(x.shape).str(" and ").shape(w.shape));
        }
        if !x.shape.dim(1).same(w.shape.dim(0)) || !x.shape.dim(2).same(w.shape.dim(2)) {
            let message = Message::new().str("convolve: groups and channels of the image and the kernels differ: ");
            return cx.error(message.shape(x.shape).str(" and ").shape(w.shape));
        }
        let mut out = Shape::of(&[x.shape.dim(0), x.shape.dim(1), w.shape.dim(1)]);
        let mut i = 0;
        while i < 2 {
            let (Some(step), Some(dilation)) = (number(cx, "convolve", steps[i]), number(cx, "convolve", dilations[i]))
            else {
                return Type::Unknown;
            };
            let (n, k) = (x.shape.dim(3 + i), w.shape.dim(3 + i));
            let mut count = Dim::UNKNOWN;
            if let (Some(step), Some(dilation)) = (step.get(), dilation.get()) {
                if step < 1 || dilation < 1 {
                    return cx.error(Message::new().str("convolve: strides and dilations are at least 1"));
                }
                if let (Some(n), Some(k)) = (n.get(), k.get()) {
                    let reach = super::reach(k, dilation);
                    if k < 1 || reach > n {
                        let message = Message::new().str("convolve: a kernel that reaches over ").num(reach);
                        let message = message.str(" does not fit axis ").num(3 + i as isize);
                        return cx.error(message.str(" of ").shape(x.shape));
                    }
                    count = Dim::int((n - reach) / step + 1);
                }
            }
            out = out.push(count);
            i += 1;
        }
        Type::Tensor(x.like(x.dtype, out).computed().depends(w))
    }
}

/// The gradient of an image of this shape for strides of one: what comes back at every place that a kernel
/// reaches from, times the kernel turned around.
fn turned(g: &mut Stage, dout: Var, weight: Var, dilation: [usize; 2], shape: &[usize]) -> Var {
    let size = kernel_size(g, weight);
    let reach = [0, 1].map(|i| (size[i] - 1) * dilation[i]);
    let mut padded = g[dout].shape.clone();
    (padded[3], padded[4]) = (shape[3] + reach[0], shape[4] + reach[1]);
    let padded = g.pad(dout, &[0, 0, 0, reach[0], reach[1]], &padded);
    let windows = Steps { stride: [1, 1], dilation }.windows(g, padded, size);
    let kernels = g[weight].shape.clone();
    let backward = [(0, 1), (0, 1), (0, 1), (size[0] - 1, -1), (size[1] - 1, -1)];
    let kernels = g.slice(weight, &backward, &kernels);
    let windows = g.transpose(windows, &[0, 1, 2, 3, 4, 6, 5]);
    g.contract(kernels, windows, "gockl,bgohklw->bgchw")
}
