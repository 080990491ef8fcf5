//! The gradients of operations on axes, lists, places and statistics against finite differences.

use crate::common::{Argument, check_network, check_op, indices, numbers};
use downhill::prelude::*;

fn x() -> Argument {
    numbers(1, &[2, 3, 4], -2.0, 2.0)
}

/// Operations of a tensor and constants.
macro_rules! plain {
    ($($op:ident $shape:expr, ($($plain:expr),+);)*) => {$(
        check!($op(x = numbers(8, &$shape, -2.0, 2.0); $($plain),+));
    )*};
}

#[test]
fn arithmetic() {
    let (a, b) = (|| numbers(1, &[2, 3], -3.0, 3.0), || numbers(2, &[3], 0.7, 2.0));
    check!(lerp(a = a(), b = b(), w = numbers(3, &[2, 1], 0.0, 1.0)));
    check!(clamp(a = a(), l = numbers(3, &[3], -1.0, -0.5), h = numbers(4, &[2, 1], 0.5, 1.0)));
    check!(clamp_min(a = a(), l = numbers(3, &[3], -1.0, 1.0)));
    check!(clamp_max(a = a(), h = numbers(3, &[3], -1.0, 1.0)));
    check!(addcmul(a = a(), b = b(), c = numbers(3, &[2, 3], -1.0, 1.0); 0.5));
    check!(addcdiv(a = a(), b = numbers(3, &[2, 3], -1.0, 1.0), c = b(); 0.5));
    check!(remainder(a = a(), b = b()));
    check!(fmod(a = a(), b = b()));
    check!(floor_divide(a = a(), b = b()));
    check!(trunc_divide(a = a(), b = b()));
    check!(xlogy(a = a(), b = b()));
    for op in [ceil::stage, round::stage] {
        check_op("rounded", &[a()], &|g, x| vec![op(g, x[0])], &|_, _, _| vec![None]);
    }
    check_op("frac", &[a()], &|g, x| vec![frac::stage(g, x[0])], &|g, x, d| vec![frac::grad(g, x[0], d[0])]);
    check_op(
        "masked_fill",
        &[a(), b()],
        &|g, x| {
            let mask = gt::stage(g, x[0], 0.25);
            vec![masked_fill::stage(g, x[0], mask, x[1])]
        },
        &|g, x, d| {
            let mask = gt::stage(g, x[0], 0.25);
            let (dx, _, dv) = masked_fill::grad(g, x[0], mask, x[1], d[0]);
            vec![dx, dv]
        },
    );
}

#[test]
fn statistics_over_several_axes() {
    plain! {
        mean_axes [2, 3, 4], ([0, -1]);
        mean_keepdim [2, 3, 4], ([1, 2]);
        logsumexp [2, 3, 4], ([0, 2]);
        logsumexp_keepdim [2, 3, 4], (-2);
        variance [2, 3, 4], ([0, -1], 1.0);
        variance_keepdim [2, 3, 4], (1, 0.5);
        deviation [2, 3, 4], ([0, 1, 2], 1.0);
        deviation_keepdim [2, 3, 4], ([-2], 0.0);
    }
    macro_rules! pair {
        ($op:ident) => {
            check_op(
                stringify!($op),
                &[x()],
                &|g, x| {
                    let (spread, mean) = $op::stage(g, x[0], [0, 2], 1.0);
                    vec![spread, mean]
                },
                &|g, x, d| vec![$op::grad(g, x[0], [0, 2], 1.0, (d[0], d[1])).0],
            )
        };
    }
    pair!(var_mean);
    pair!(std_mean);
}

#[test]
fn norms() {
    for p in [2.0, 1.0, 0.5, 3.0, -1.5, f32::INFINITY, f32::NEG_INFINITY, 0.0] {
        check!(vector_norm(x = x(); p, [0, 2]));
        check!(vector_norm_keepdim(x = x(); p, -1));
    }
}

/// Where the formula of a norm divides by zero, the gradient is zero.
#[test]
fn the_norm_of_zeros_has_a_gradient() {
    for p in [2.0, 1.0, 1.5, 3.0, f32::INFINITY] {
        let mut g = Stage::new();
        let zeros = g.constant(&Tensor::new([2], [0.0; 2]).unwrap());
        let one = g.number(1.0);
        let (d, ..) = vector_norm::grad(&mut g, zeros, p, 0, Some(one));
        assert_eq!(g.value(Value::Var(d.unwrap())).unwrap().data(), [0.0; 2], "p = {p}");
    }
}

#[test]
fn axes() {
    plain! {
        squeeze [2, 1, 3, 1], ([1, -1]);
        unflatten [2, 6], (1, [2, -1]);
        movedim [2, 3, 4], (0, -1);
        movedim [2, 3, 4], ([0, 1], [2, 0]);
        stride [2, 7], (1, 3);
        stride [6, 2], (0, 2);
        diagonal [3, 4], (0, 0, 1);
        diagonal [4, 3], (0, 1, 0);
        diagonal [3, 2, 4], (1, 0, -1);
        diagonal [4, 2, 3], (-2, 0, 2);
        diagonal [2, 3, 3], (2, 1, 2);
        diagonal [5, 2], (-4, 0, 1);
        broadcast_to [3, 1], ([2, -1, 4]);
        narrow [2, 5], (1, 1, 3);
        repeat [2, 3], (-1, 3);
        repeat_interleave [2, 3], (-1, 3);
        repeat_interleave [2, 3], (0, 2);
        glu [2, 4], (-1);
        glu [4, 3], (0);
        softmin [2, 3], (0);
    }
    check!(outer(a = numbers(1, &[3], -1.0, 1.0), b = numbers(2, &[2], -1.0, 1.0)));
    let a = || numbers(1, &[2, 3, 4], -1.0, 1.0);
    check!(addmm(x = numbers(3, &[2], -1.0, 1.0), a = a(), b = numbers(2, &[2, 4, 2], -1.0, 1.0); 0.5, 2.0));
    check!(linear(x = a(), w = numbers(2, &[2, 4], -1.0, 1.0), b = numbers(3, &[2], -1.0, 1.0)));
}

#[test]
fn parts() {
    let weighted = |g: &mut Stage, parts: &[Value]| -> Vec<Value> {
        parts.iter().enumerate().map(|(i, &part)| mul::stage(g, part, i + 1)).collect()
    };
    let back = |g: &mut Stage, d: &[Grad]| -> Vec<Grad> {
        d.iter().enumerate().map(|(i, &d)| mul::grad(g, Value::Var(d.unwrap()), i + 1, d).0).collect()
    };
    check_op(
        "chunk",
        &[x()],
        &|g, x| {
            let parts: [_; 2] = chunk::stage(g, x[0], -1);
            weighted(g, &parts)
        },
        &|g, x, d| {
            let [a, b] = back(g, d)[..] else { unreachable!("two parts") };
            vec![chunk::grad(g, x[0], -1, [a, b]).0]
        },
    );
    check_op(
        "split by sizes",
        &[x()],
        &|g, x| {
            let parts: [_; 3] = split::stage(g, x[0], [1, 2, 1], 2);
            weighted(g, &parts)
        },
        &|g, x, d| {
            let [a, b, c] = back(g, d)[..] else { unreachable!("three parts") };
            vec![split::grad(g, x[0], [1, 2, 1], 2, [a, b, c]).0]
        },
    );
    check_op(
        "split by one size",
        &[x()],
        &|g, x| {
            let parts: [_; 2] = split::stage(g, x[0], 2, 1);
            parts.to_vec()
        },
        &|g, x, d| vec![split::grad(g, x[0], 2, 1, [d[0], d[1]]).0],
    );
    check_op(
        "unbind of which one part is used",
        &[x()],
        &|g, x| {
            let [_, b, _]: [_; 3] = unbind::stage(g, x[0], 1);
            vec![b]
        },
        &|g, x, d| vec![unbind::grad(g, x[0], 1, [None, d[0], None]).0],
    );
    for axis in [0, 1, -1] {
        check_op(
            "stack",
            &[numbers(1, &[2, 3], -1.0, 1.0), numbers(2, &[2, 3], -1.0, 1.0)],
            &|g, x| vec![stack::stage(g, [x[0], x[1]], axis)],
            &|g, x, d| stack::grad(g, [x[0], x[1]], axis, d[0]).0.to_vec(),
        );
    }
}

#[test]
fn places() {
    let source = || numbers(2, &[2, 2, 4], -1.0, 1.0);
    check!(scatter_add(x = x(), i = indices(3, &[2, 2, 4], 3), s = source(); 1));
    check!(index_add(x = x(), i = indices(3, &[2], 3), s = source(); 1, 0.5));
    check!(take_along(x = x(), i = indices(3, &[2, 5, 4], 3); 1));
    check!(take_rows(x = x(), i = indices(3, &[5], 4); -1));
    for axis in [0, -1] {
        check!(add_rows(x = numbers(4, &[2, 2], -1.0, 1.0), i = indices(3, &[2], 3); axis, 3));
        check!(add_along(x = numbers(4, &[2, 2], -1.0, 1.0), i = indices(3, &[2, 2], 3); axis, 3));
    }
    for stage in [argmax_axis::stage, argmin_axis::stage] {
        let places = |g: &mut Stage, v: &[Value]| {
            let at = stage(g, v[0], 1);
            vec![float::stage(g, at)]
        };
        check_op("places", &[x()], &places, &|_, _, _| vec![None]);
    }
}

/// The gradient of a row that pads is left out.
#[test]
fn a_row_that_pads() {
    let mut g = Stage::new();
    let table = g.constant(&Tensor::new([3, 1], [1.0, 2.0, 3.0]).unwrap());
    let rows = iota::stage(&mut g, 3);
    let dout = g.fill(1.0, &[3, 1]);
    let (d, ..) = padded_gather::grad(&mut g, table, rows, 1, Some(dout));
    assert_eq!(g.value(Value::Var(d.unwrap())).unwrap().data(), [1.0, 0.0, 1.0]);
}

#[test]
fn products_by_an_equation() {
    let cases: [(&str, &[&[usize]]); 16] = [
        ("ij,jk->ik", &[&[2, 3], &[3, 4]]),
        ("bthd,bshd->bhts", &[&[2, 3, 2, 2], &[2, 4, 2, 2]]),
        ("bhts,bshd->bthd", &[&[2, 2, 3, 4], &[2, 4, 2, 2]]),
        ("ij->", &[&[2, 3]]),
        ("ij->j", &[&[2, 3]]),
        ("ii->i", &[&[3, 3]]),
        ("iji->j", &[&[2, 3, 2]]),
        ("ii,ij->ij", &[&[2, 2], &[2, 3]]),
        ("i,j->ij", &[&[2], &[3]]),
        ("bi,bi->b", &[&[2, 3], &[2, 3]]),
        ("...ij,...jk", &[&[2, 1, 2, 3], &[2, 3, 2]]),
        ("...ik, ...j -> ij", &[&[2, 2, 3], &[2, 2]]),
        ("ij,jk,kl->il", &[&[2, 3], &[3, 2], &[2, 2]]),
        ("ab,bc,ca->", &[&[2, 3], &[3, 2], &[2, 2]]),
        ("ij,j->i", &[&[2, 1], &[3]]),
        ("abij,ijc->abc", &[&[2, 2, 3, 2], &[3, 2, 2]]),
    ];
    for (equation, shapes) in cases {
        let arguments: Vec<Argument> =
            shapes.iter().enumerate().map(|(i, shape)| numbers(i as u64, shape, -1.0, 1.0)).collect();
        check_op(
            equation,
            &arguments,
            &|g, x| {
                vec![match *x {
                    [a] => einsum::stage(g, equation, [a]),
                    [a, b] => einsum::stage(g, equation, [a, b]),
                    [a, b, c] => einsum::stage(g, equation, [a, b, c]),
                    _ => unreachable!("at most three tensors"),
                }]
            },
            &|g, x, d| match *x {
                [a] => einsum::grad(g, equation, [a], d[0]).1.to_vec(),
                [a, b] => einsum::grad(g, equation, [a, b], d[0]).1.to_vec(),
                [a, b, c] => einsum::grad(g, equation, [a, b, c], d[0]).1.to_vec(),
                _ => unreachable!("at most three tensors"),
            },
        );
    }
}

#[network(sequential, loss = mse)]
struct Rectified {
    up: Linear<3, 4>,
    act: Prelu<4>,
    one: Prelu<1>,
    leaky: LeakyRelu,
    elu: Elu,
    celu: Celu,
    softplus: Softplus,
    bounded: Hardtanh,
    gate: Glu,
    shares: Softmax,
    logs: LogSoftmax,
    least: Softmin,
    out: Linear<2, 1>,
}

#[test]
fn layers() {
    check_network(Rectified::new(), Rectified::loss, &[numbers(1, &[2, 3], -1.0, 1.0), numbers(2, &[2, 1], -1.0, 1.0)]);
}

/// A channel is the second axis, also of images.
#[network(sequential, loss = mse)]
struct Channels {
    act: Prelu<3>,
}

#[test]
fn slopes_of_channels() {
    let images = numbers(1, &[2, 3, 2, 2], -1.0, 1.0);
    check_network(Channels::new(), Channels::loss, &[images, numbers(2, &[2, 3, 2, 2], -1.0, 1.0)]);
    let model = Channels::init(0);
    let y = model.forward(&Tensor::new([1, 3, 1, 2], vec![-1.0; 6]).unwrap()).unwrap();
    assert_eq!(y, Tensor::new([1, 3, 1, 2], vec![-0.25; 6]).unwrap());
}

/// Attention with the operations of lists and equations, in the language of network functions.
#[network]
struct Attention {
    qkv: Linear<4, 12>,
    out: Linear<4, 2>,
}

#[network]
impl Attention {
    fn loss(&self, x: Tensor<B, T, 4>) -> Tensor {
        let [q, k, v] = chunk(self.qkv(x), -1);
        let scores = softmax(einsum("btd,bsd->bts", [q, k]), -1);
        let y = self.out(einsum("bts,bsd->btd", [scores, v]));
        let [first, rest] = split(y, [1, 1], -1);
        let mut both = stack([first, rest], 0);
        [_, both] = unbind(both, 0);
        mean(y * y) + mean(both)
    }
}

#[test]
fn attention() {
    check_network(Attention::new(), Attention::loss, &[numbers(1, &[2, 3, 4], -1.0, 1.0)]);
}

/// Lists inside of loops and branches.
#[network]
struct Gated {
    blocks: [Linear<4, 8>; 3],
    #[option(true)]
    even: bool,
}

#[network]
impl Gated {
    fn loss(&self, x: Tensor<B, 4>) -> Tensor {
        let mut x = x;
        let mut kept = x;
        for block in &self.blocks {
            let [value, gate] = chunk(block(x), -1);
            [x, kept] =
                if self.even { unbind(stack([value * sigmoid(gate), kept + x], -2), 1) } else { split(block(x), 4, 1) };
        }
        let (a, [_, b]) = (kept, chunk(x, 1));
        mean(a * a) + mean(b)
    }
}

#[test]
fn lists_in_loops_and_branches() {
    check_network(Gated::new(), Gated::loss, &[numbers(1, &[2, 4], -1.0, 1.0)]);
    check_network(Gated::new().even(false), Gated::loss, &[numbers(1, &[2, 4], -1.0, 1.0)]);
}
