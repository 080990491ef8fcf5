//! The profile of a step: every kernel, and the step itself as ever. Times are not tested.

use downhill::prelude::*;
use downhill::shape::DType;
use downhill::{Error, Pass, Profile};

#[network(sequential, loss = cross_entropy)]
struct Classifier {
    hidden: Linear<6, 8>,
    norm: LayerNorm<8>,
    act: Gelu,
    out: Linear<8, 3>,
}

fn batch() -> downhill::Result<(Tensor, Index)> {
    Ok((Tensor::new([4, 6], (0..24).map(|i| i as f32 / 24.0).collect::<Vec<_>>())?, Index::new([4], [0, 1, 2, 0])?))
}

fn profiled(clip: bool) -> downhill::Result<(Profile, String)> {
    let mut model = Classifier::init(0);
    let mut step = Step::new(&model, Classifier::loss, AdamW::new(0.1))?;
    if clip {
        step.clip_norm(1.0)?;
    }
    let (x, y) = batch()?;
    let profile = step.profile(&mut model, (&x, &y), 3)?;
    Ok((profile, step.explain()))
}

#[test]
fn every_kernel_of_the_step_is_in_the_profile() -> downhill::Result<()> {
    let (profile, explained) = profiled(true)?;
    let programs: Vec<&str> = profile.kernels().iter().map(|kernel| kernel.program.as_str()).collect();
    let mut names = programs.clone();
    names.dedup();
    assert_eq!(names, ["Classifier::loss", "norm", "update"]);
    for name in names {
        let count = programs.iter().filter(|program| **program == name).count();
        assert!(explained.contains(&format!("{name}: {count} kernels")), "{name} {count}: {explained}");
        let numbers = profile.kernels().iter().filter(|kernel| kernel.program == name).map(|kernel| kernel.index);
        assert!(numbers.eq(0..count), "{name}");
    }
    for kernel in profile.kernels() {
        assert!(kernel.floor.as_nanos() > 0 && kernel.bytes > 0, "{kernel:?}");
        assert!(explained.contains(&kernel.operations), "{kernel:?}");
        assert!(explained.contains(&format!("{:<18} {}", kernel.backend, kernel.kind)), "{kernel:?}");
        assert_eq!(kernel.fallback, None, "{kernel:?}");
    }
    Ok(())
}

#[test]
fn every_kernel_belongs_to_a_pass() -> downhill::Result<()> {
    let (profile, _) = profiled(true)?;
    let passes: Vec<Pass> = profile.kernels().iter().map(|kernel| kernel.pass).collect();
    let mut order = passes.clone();
    order.dedup();
    assert_eq!(order, [Pass::Forward, Pass::Backward, Pass::Update]);
    for (kernel, pass) in profile.kernels().iter().zip(passes) {
        assert_eq!(kernel.program != "Classifier::loss", pass == Pass::Update, "{kernel:?}");
    }
    // Two products on the way to the loss, and three on the way back: no gradient of the input is needed.
    let products = |pass| profile.kernels().iter().filter(|k| k.pass == pass && k.kind == "matmul").count();
    assert_eq!([Pass::Forward, Pass::Backward].map(products), [2, 3]);
    let times: std::time::Duration =
        [Pass::Forward, Pass::Backward, Pass::Update].map(|p| profile.pass_time(p)).iter().sum();
    assert_eq!(times, profile.kernel_time());
    assert!(profile.to_string().contains("us, backward "), "{profile}");
    Ok(())
}

#[test]
fn the_shares_are_the_whole() -> downhill::Result<()> {
    let (profile, _) = profiled(false)?;
    let sum: f64 = profile.kernels().iter().map(|kernel| kernel.share).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    assert!(profile.kernel_time() <= profile.time());
    assert_eq!(profile.runs(), 3);
    Ok(())
}

#[test]
fn the_table_begins_with_what_loses_most() -> downhill::Result<()> {
    let (profile, _) = profiled(false)?;
    let worst = profile.worst();
    assert_eq!(worst.len(), profile.kernels().len());
    assert!(worst.windows(2).all(|pair| pair[0].lost() >= pair[1].lost()));
    let heading = profile.to_string().lines().count() - worst.len();
    assert_eq!(format!("{profile:.2}").lines().count(), heading + 2);
    let name = format!("{} {}", worst[0].program, worst[0].index);
    assert!(profile.to_string().lines().nth(heading).unwrap().contains(&name), "{profile}");
    Ok(())
}

#[test]
fn a_profile_takes_the_same_steps() -> downhill::Result<()> {
    let (x, y) = batch()?;
    let (mut run, mut profiled) = (Classifier::init(0), Classifier::init(0));
    let mut step = Step::new(&run, Classifier::loss, AdamW::new(0.1))?;
    let mut timed = Step::new(&profiled, Classifier::loss, AdamW::new(0.1))?;
    for _ in 0..4 {
        step.run(&mut run, (&x, &y))?;
    }
    timed.profile(&mut profiled, (&x, &y), 3)?;
    timed.run(&mut profiled, (&x, &y))?;
    assert_eq!(timed.steps(), 4);
    for param in run.params() {
        assert_eq!(run.get(param.name)?, profiled.get(param.name)?, "{}", param.name);
    }
    Ok(())
}

#[test]
fn bad_input_and_no_runs_are_refused() -> downhill::Result<()> {
    let mut model = Classifier::init(0);
    let mut step = Step::new(&model, Classifier::loss, Sgd::new(0.1))?;
    let (x, _) = batch()?;
    let wrong = Index::new([4], [0, 1, 3, 0])?;
    assert!(matches!(step.profile(&mut model, (&x, &wrong), 2), Err(Error::IndexRange { value: 3, .. })));
    assert!(matches!(step.profile(&mut model, (&x, &wrong), 0), Err(Error::Setting { setting: "runs", .. })));
    assert_eq!(step.steps(), 0);
    Ok(())
}

#[test]
fn a_graph_by_hand_is_compiled_once_and_profiled() -> downhill::Result<()> {
    let mut g = Stage::new();
    let x = Value::Var(g.input(0, &[5], DType::F32));
    let y = gelu_tanh::stage(&mut g, x);
    let ones = g.fill(1.0, &[5]);
    let dx = gelu_tanh::grad(&mut g, x, Some(ones)).map(Value::Var).unwrap();
    let mut both = g.compile(&[y, dx])?;
    for shift in [0.0, 1.0] {
        let data = Tensor::new([5], (0..5).map(|i| i as f32 - shift).collect::<Vec<_>>())?;
        both.run(&data)?;
        let expected = g.compute(&[y, dx], &[(&data).into()])?;
        assert_eq!([both.tensor(0)?, both.tensor(1)?], expected[..]);
        let profile = both.profile(&data, 2)?;
        assert_eq!(both.data(1)?, expected[1].data());
        assert!(both.explain().contains(&profile.kernels()[0].operations));
    }
    Ok(())
}

#[test]
fn a_graph_by_hand_refuses_what_it_was_not_compiled_for() -> downhill::Result<()> {
    let mut g = Stage::new();
    let table = g.input(0, &[3, 2], DType::F32);
    let index = g.input(1, &[2], DType::I32);
    let rows = gather::stage(&mut g, table, index);
    let mut rows = g.compile(&[rows])?;
    let table = Tensor::new([3, 2], [1., 2., 3., 4., 5., 6.])?;
    let error = |result: downhill::Result<()>| result.unwrap_err().to_string();
    assert_eq!(error(rows.run((&table, &Index::new([3], [0, 1, 2])?))), "graph: input 1 is [2], [3] was given");
    assert_eq!(error(rows.run(&table)), "graph: input 1 is [2], none was given");
    assert_eq!(error(rows.run((&table, &table))), "graph: input 1 is Index [2], Tensor [3, 2] was given");
    let outside = error(rows.run((&table, &Index::new([2], [0, 3])?)));
    assert_eq!(outside, "graph: `input 1` holds 3 at position 1, expected 0 to 2");
    rows.run((&table, &Index::new([2], [2, 0])?))?;
    assert_eq!(rows.data(0)?, [5., 6., 1., 2.]);
    assert_eq!(error(rows.data(1).map(|_| ())), "graph: value 1 of 1 was read");
    Ok(())
}
