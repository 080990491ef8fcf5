//! Compiled kernels against the f64 reference.

use downhill::prelude::*;
use downhill::shape::DType;
use downhill::{Input, Value};

#[test]
fn smoke() {
    let mut g = Stage::new();
    let x = Value::from(g.input(0, &[5, 7], DType::F32));
    let m = max_keepdim::stage(&mut g, x, [-1]);
    let c = sub::stage(&mut g, x, m);
    let e = exp::stage(&mut g, c);
    let s = sum_keepdim::stage(&mut g, e, [-1]);
    let p = div::stage(&mut g, e, s);
    let col = sum_axes::stage(&mut g, p, [0]);
    let t = transpose::stage(&mut g, x, 0, 1);
    let mm = matmul::stage(&mut g, t, p);
    let all = sum::stage(&mut g, mm);
    let data = Tensor::new([5, 7], (0..35).map(|i| ((i * 37) % 11) as f32 / 3.0 - 1.5).collect::<Vec<_>>()).unwrap();
    let outs = [p, col, mm, all, m];
    let got = g.compute(&outs, &[Input::from(&data)]).unwrap();
    let want = g.reference(&outs, &[Input::from(&data)]).unwrap();
    for (a, b) in got.iter().zip(&want) {
        for (x, y) in a.data().iter().zip(b) {
            assert!((*x as f64 - y).abs() < 1e-4 * (1.0 + y.abs()), "{x} {y}");
        }
    }
}
