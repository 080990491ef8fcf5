//! What a program without `unsafe` may do wrong: functions, optimizers, inputs and sizes that do not fit are refused, or
//! compute something else, and never leave the memory that they were given.

use std::sync::atomic::{AtomicUsize, Ordering};

use downhill::check::Message;
use downhill::init::Init;
use downhill::network::{Field, Function, Network, Param, Rules, State};
use downhill::optim::Updated;
use downhill::prelude::*;
use downhill::shape::DType;
use downhill::{Error, Grad, Input, Result};

#[network(sequential, loss = mse)]
struct Line {
    #[layer(bias = false)]
    line: Linear<4, 1>,
}

/// A network with a parameter, a state and another parameter.
#[network]
struct Counted {
    line: Linear<4, 1>,
    #[init(zeros)]
    count: State<3>,
    #[init(ones)]
    scale: Param<2>,
}

#[network]
impl Counted {
    fn loss(&self, x: Tensor<B, 4>) -> Tensor {
        self.count = self.count + 1.0;
        mean(self.line(x)) + sum(self.scale)
    }
}

#[network]
struct Table {
    rows: Embedding<10, 4>,
}

#[network]
impl Table {
    fn forward(&self, t: Index<B>) -> Tensor<B, 4> {
        self.rows(t)
    }

    fn loss(&self, t: Index<B>) -> Tensor {
        mean(self.rows(t))
    }
}

fn ones(shape: &[usize]) -> Tensor {
    Tensor::new(shape, vec![1.0; shape.iter().product()]).expect("as many as the shape says")
}

/// The message of an error; panics if there is none.
#[track_caller]
fn refused<T>(result: Result<T>) -> String {
    result.err().expect("this is refused").to_string()
}

type Staged<N> = fn(&N, &mut Stage, &[Value]) -> Vec<Value>;

type Grads<N> = fn(&N, &mut Stage, &[Value], &[Grad]);

/// A loss with a gradient of one's own.
fn with_grad<N>(f: Function<N>, grad: Grads<N>) -> Function<N> {
    Function::new(f.name(), f.inputs(), f.outputs(), Rules { grad, ..f.rules() })
}

/// A loss that is staged otherwise.
fn with_stage<N>(f: Function<N>, stage: fn(&N, &mut Stage, &[Value]) -> Vec<Value>) -> Function<N> {
    Function::new(f.name(), f.inputs(), f.outputs(), Rules { stage, ..f.rules() })
}

/// A step of `Line` with this gradient, which changes nothing if it is refused.
#[track_caller]
fn line_step(grad: Grads<Line>) -> Result<f32> {
    let mut model = Line::init(0);
    let before = model.get("line.weight")?;
    let mut step = Step::new(&model, with_grad(Line::loss, grad), Sgd::new(0.1))?;
    let found = step.run(&mut model, (&ones(&[1, 4]), &ones(&[1, 1])));
    if found.is_err() {
        assert_eq!(model.get("line.weight")?, before);
    }
    found
}

/// A parameter of this number.
fn param(id: usize, sizes: &[usize]) -> Param {
    let mut param = Param::new(sizes, Init::Constant(0.0));
    param.number(id);
    param
}

#[test]
fn a_gradient_of_another_shape_is_refused() {
    let message = refused(line_step(|_, g, _, _| {
        let much = g.fill(7.0, &[1 << 26]);
        param(0, &[4]).accumulate(g, Some(much));
    }));
    assert_eq!(message, "Line::loss: the gradient of `line.weight` is Tensor [1, 4], found Tensor [67108864]");
    let message = refused(line_step(|_, g, _, _| {
        let whole = g.iota(4);
        let whole = g.reshape(whole, &[1, 4]);
        param(0, &[4]).accumulate(g, Some(whole));
    }));
    assert_eq!(message, "Line::loss: the gradient of `line.weight` is Tensor [1, 4], found Index [1, 4]");
}

#[test]
fn a_gradient_of_no_parameter_does_no_harm() {
    for id in [1, 1 << 20, 1 << 40, usize::MAX - 1, usize::MAX] {
        static ID: AtomicUsize = AtomicUsize::new(0);
        ID.store(id, Ordering::Relaxed);
        let found = line_step(|_, g, _, _| {
            let d = g.fill(7.0, &[1, 4]);
            param(0, &[1, 4]).accumulate(g, Some(d));
            param(ID.load(Ordering::Relaxed), &[1, 4]).accumulate(g, Some(d));
        });
        assert!(id < 1 << 24 || found.is_err(), "{id}: {found:?}");
    }
}

#[test]
fn a_gradient_of_a_state_changes_nothing() -> Result<()> {
    let grad: Grads<Counted> = |net, g, x, dout| {
        (Counted::loss.rules().grad)(net, g, x, dout);
        let d = g.fill(1e9, &[3]);
        param(2, &[3]).accumulate(g, Some(d));
    };
    let mut model = Counted::init(0);
    let mut step = Step::new(&model, with_grad(Counted::loss, grad), Sgd::new(1.0))?;
    step.run(&mut model, &ones(&[2, 4]))?;
    assert_eq!(model.get("count")?.data(), [1.0; 3]);
    assert_eq!(model.get("scale")?.data(), [0.0; 2]);
    Ok(())
}

#[test]
fn what_a_function_reads_is_as_the_model_has_it() -> Result<()> {
    let model = Line::init(0);
    let stages: [(Staged<Line>, &str); 6] = [
        (
            |_, g, _| vec![g.param(0, &[1 << 20, 4]).into()],
            "parameter `line.weight` is Tensor [1, 4], found Tensor [1048576, 4]",
        ),
        (|_, g, _| vec![g.param(9, &[1, 4]).into()], "the model has 1 parameters, none is 9"),
        (
            |_, g, _| vec![g.param(usize::MAX, &[1, 4]).into()],
            "the model has 1 parameters, none is 18446744073709551615",
        ),
        (|_, g, _| vec![g.input(0, &[1 << 20], DType::F32).into()], "input 0 is Tensor [1, 4], found Tensor [1048576]"),
        (
            |_, g, _| vec![g.input(usize::MAX, &[1], DType::F32).into()],
            "there are 1 inputs, none is 18446744073709551615",
        ),
        (
            |_, g, _| {
                let x = g.input(0, &[1, 4], DType::I32);
                vec![x.into()]
            },
            "input 0 is Tensor [1, 4], found Index [1, 4]",
        ),
    ];
    for (stage, message) in stages {
        let found = refused(model.call(with_stage(Line::forward, stage), &ones(&[1, 4])));
        assert_eq!(found, format!("Line::forward: {message}"));
    }
    // Random numbers depend on the seed of a step, and a call has none.
    let seeded = with_stage(Line::forward, |_, g, x| {
        let Value::Var(x) = x[0] else { return vec![] };
        vec![g.random_for(x).into()]
    });
    assert!(refused(model.call(seeded, &ones(&[1, 4]))).contains("random numbers"));
    // An index that is no input of the function.
    let gathered = with_stage(Line::forward, |_, g, _| {
        let (table, index) = (g.fill(1.0, &[4, 2]), g.input(5, &[3], DType::I32));
        vec![g.gather(table, index).into()]
    });
    assert!(model.call(gathered, &ones(&[1, 4])).is_err());
    // Values of another graph, and parameters that are not there.
    let foreign = with_stage(Line::forward, |_, _, _| {
        let mut other = Stage::new();
        let values: Vec<Value> = (0..100).map(|i| other.number(f64::from(i)).into()).collect();
        values[99..].to_vec()
    });
    assert!(model.call(foreign, &ones(&[1, 4])).is_err());
    let absent =
        with_stage(Line::forward, |_, g, _| vec![g.field(&Param::new(&[4], Init::Constant(0.0)).optional(false))]);
    assert!(refused(model.call(absent, &ones(&[1, 4]))).contains("built without"));
    Ok(())
}

#[test]
fn a_state_keeps_its_shape_and_a_parameter_is_none() -> Result<()> {
    static ID: AtomicUsize = AtomicUsize::new(0);
    let loss = with_stage(Counted::loss, |net, g, x| {
        let results = (Counted::loss.rules().stage)(net, g, x);
        let mut state = State::new(&[3], Init::Constant(0.0));
        state.number(ID.load(Ordering::Relaxed));
        let much = g.fill(1.0, &[1 << 24]);
        g.update(&[(&state, much.into())], &[]);
        results
    });
    for id in [0, 1, 2, 3, 4, 1 << 40, usize::MAX] {
        ID.store(id, Ordering::Relaxed);
        let mut model = Counted::init(0);
        let mut step = Step::new(&model, loss, Sgd::new(0.1))?;
        let message = refused(step.run(&mut model, &ones(&[2, 4])));
        assert!(message.contains("which is no state") || message.contains("state `count` is Tensor [3]"), "{message}");
    }
    Ok(())
}

#[test]
fn two_functions_of_one_name_are_two() -> Result<()> {
    let model = Line::init(0);
    let one = with_stage(Line::forward, |_, g, _| vec![g.fill(1.0, &[2]).into()]);
    let two = with_stage(Line::forward, |_, g, _| vec![g.fill(2.0, &[3]).into()]);
    let x = ones(&[1, 4]);
    assert_eq!(model.call(one, &x)?[0].data(), [1.0; 2]);
    assert_eq!(model.call(two, &x)?[0].data(), [2.0; 3]);
    assert_eq!(model.forward(&x)?.shape(), [1, 1]);
    Ok(())
}

#[test]
fn an_input_has_as_many_elements_as_its_shape_says() -> Result<()> {
    assert!(Input::tensor(&[1 << 26, 4], &[1.0]).is_err());
    assert!(Input::tensor(&[1 << 32, 1 << 32], &[]).is_err());
    assert!(Input::tensor(&[usize::MAX, 2, 0], &[]).is_err());
    assert!(Input::tensor(&[1; 9], &[1.0]).is_err());
    assert!(Input::index(&[1 << 20], &[]).is_err());
    assert!(Input::index(&[2], &[1, 2, 3]).is_err());
    let model = Table::init(0);
    let (shape, rows) = ([2], [3, 9]);
    let y = model.forward(&[Input::index(&shape, &rows)?][..])?;
    assert_eq!(y.shape(), [2, 4]);
    for row in [10, -1, i32::MAX, i32::MIN] {
        assert!(model.forward(&[Input::index(&[2], &[3, row])?][..]).is_err());
    }
    // Another number of inputs, and inputs of another kind.
    let x = ones(&[1, 4]);
    let many: Vec<Input<'_>> = (0..100).map(|_| Input::from(&x)).collect();
    assert!(model.forward(&many[..]).is_err() && model.forward(()).is_err() && model.forward(&x).is_err());
    assert!(model.forward(&Index::new([0], [])?).is_err());
    Ok(())
}

#[test]
fn tensors_have_as_many_elements_as_their_shapes_say() -> Result<()> {
    for shape in
        [vec![1 << 32, 1 << 32], vec![usize::MAX, 2], vec![3, usize::MAX / 3 + 1], vec![usize::MAX, usize::MAX, 0]]
    {
        assert!(Tensor::new(&shape[..], []).is_err() && Index::new(&shape[..], []).is_err(), "{shape:?}");
        assert!(Tensor::new([2], [1.0, 2.0])?.reshape(&shape[..]).is_err());
    }
    assert_eq!(Tensor::new([3, 0], [])?.data(), [0.0; 0]);
    Ok(())
}

/// An optimizer that says and does what it is told.
#[derive(Clone, Copy)]
struct Told {
    state: fn() -> &'static [&'static str],
    numbers: fn() -> usize,
    update: fn(&mut Stage, Value, Value, &[Value], &[Value]) -> Updated,
}

const HONEST: Told = Told {
    state: || &["momentum"],
    numbers: || 1,
    update: |g, weight, grad, state, _| Updated { weight: sub::stage(g, weight, grad), state: state.to_vec() },
};

impl Optimizer for Told {
    fn state(&self) -> &'static [&'static str] {
        (self.state)()
    }

    fn numbers(&self) -> usize {
        (self.numbers)()
    }

    fn at(&self, _step: u64, lr: f32, numbers: &mut [f32]) {
        numbers.fill(lr);
    }

    fn lr(&self) -> f32 {
        0.1
    }

    fn update(&self, g: &mut Stage, weight: Value, grad: Value, state: &[Value], numbers: &[Value]) -> Updated {
        (self.update)(g, weight, grad, state, numbers)
    }
}

/// Three steps by this optimizer, with a setting changed in between.
fn three_steps(rule: impl Optimizer + 'static) -> Result<f32> {
    let mut model = Line::init(0);
    let (x, y) = (ones(&[1, 4]), ones(&[1, 1]));
    let mut step = Step::new(&model, Line::loss, rule)?;
    step.run(&mut model, (&x, &y))?;
    step.clip_value(1.0)?;
    step.accumulate(&mut model, (&x, &y))?;
    step.update(&mut model)?;
    step.run(&mut model, (&x, &y))
}

#[test]
fn an_optimizer_that_is_wrong_is_refused() {
    three_steps(HONEST).expect("this one is right");
    fn bad(update: fn(&mut Stage, Value, Value, &[Value], &[Value]) -> Updated) -> String {
        refused(three_steps(Told { update, ..HONEST }))
    }
    // Inputs and parameters of its own, and random numbers.
    bad(|g, _, _, state, _| Updated { weight: g.input(3, &[1 << 20], DType::F32).into(), state: state.to_vec() });
    bad(|g, _, _, state, _| Updated { weight: g.input(99, &[16], DType::F32).into(), state: state.to_vec() });
    bad(|g, _, _, state, _| Updated { weight: g.param(0, &[16]).into(), state: state.to_vec() });
    bad(|g, weight, _, state, _| {
        let Value::Var(w) = weight else { return Updated { weight, state: vec![] } };
        Updated { weight: g.random_for(w).into(), state: state.to_vec() }
    });
    // Results of other shapes and types, of another graph, and none.
    bad(|g, _, _, state, _| Updated { weight: g.fill(0.0, &[1 << 20]).into(), state: state.to_vec() });
    bad(|g, _, _, state, _| Updated { weight: g.iota(16).into(), state: state.to_vec() });
    bad(|g, weight, _, _, _| Updated { weight, state: vec![g.fill(0.0, &[7]).into()] });
    bad(|_, weight, _, _, _| Updated { weight, state: vec![] });
    bad(|_, weight, _, state, _| Updated { weight, state: vec![state[0]; 2] });
    bad(|_, _, _, state, _| Updated { weight: Value::Unknown, state: state.to_vec() });
    bad(|_, _, _, state, _| {
        let mut other = Stage::new();
        let vars: Vec<_> = (0..500).map(|i| other.number(f64::from(i))).collect();
        Updated { weight: vars[499].into(), state: state.to_vec() }
    });
    // A size that no memory can hold.
    bad(|g, weight, _, state, _| {
        let much = g.fill(1.0, &[1 << 40, 1 << 40]);
        let sum = g.reduce(downhill::ops::Reduce::Sum, much, 3);
        let sum = g.reshape(sum, &[]);
        Updated { weight: add::stage(g, weight, sum), state: state.to_vec() }
    });
    // Elements of other places, which the update has written by then.
    bad(|g, weight, _, state, _| Updated { weight: flip::stage(g, weight, 0), state: state.to_vec() });
    bad(|_, weight, _, state, _| Updated { weight: state[0], state: vec![weight] });
}

#[test]
fn what_an_optimizer_says_of_itself_is_asked_once() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    fn more() -> usize {
        ASKED.fetch_add(1, Ordering::Relaxed)
    }
    const NAMES: [&str; 64] = ["a"; 64];
    let kept = |g: &mut Stage, weight, grad, state: &[Value], _: &[Value]| Updated {
        weight: sub::stage(g, weight, grad),
        state: state.to_vec(),
    };
    // Neither is out of bounds, whatever is said later.
    let _ = three_steps(Told { numbers: more, update: kept, ..HONEST });
    let _ = three_steps(Told { numbers: || 1000 - more().min(999), update: kept, ..HONEST });
    let _ = three_steps(Told { state: || &NAMES[..more() % 64], update: kept, ..HONEST });
    refused(three_steps(Told { numbers: || usize::MAX, ..HONEST }));
    refused(three_steps(Told { numbers: || 1 << 40, ..HONEST }));
    // A rule that passes too little on to one of the library's.
    macro_rules! passed_on {
        ($($rule:expr),*) => {$({
            let update: fn(&mut Stage, Value, Value, &[Value], &[Value]) -> Updated =
                |g, weight, grad, _, _| $rule.update(g, weight, grad, &[], &[]);
            refused(three_steps(Told { update, ..HONEST }));
        })*};
    }
    passed_on!(
        Sgd::new(0.1).momentum(0.9),
        Adam::new(0.1),
        AdamW::new(0.1),
        Adamax::new(0.1),
        NAdam::new(0.1),
        RAdam::new(0.1),
        Adagrad::new(0.1),
        Adadelta::new(0.1),
        RmsProp::new(0.1).centered(true).momentum(0.5),
        Lion::new(0.1)
    );
}

#[test]
fn a_model_of_computed_sizes_is_refused() -> Result<()> {
    let huge = Linear::new(1 << 40, 1 << 40);
    let message = refused(Model::try_new(huge, 0));
    assert_eq!(message, "parameter `weight` [1099511627776, 1099511627776] has more than 2^40 elements");
    assert!(matches!(Model::try_new(Embedding::new((1 << 60) + 1, 16), 0), Err(Error::TooLarge { .. })));
    assert!(matches!(Model::try_new(Linear::new(usize::MAX, usize::MAX), 0), Err(Error::TooLarge { .. })));
    // Each can be, both cannot.
    assert!(matches!(Model::try_new(Linear::new(1, 1 << 40), 0), Err(Error::TooLarge { .. })));
    // Whatever is done with a model without numbers says why it has none.
    let mut model = Model::new(huge, 0);
    let path = std::env::temp_dir().join(format!("huge-{}.safetensors", std::process::id()));
    let x = ones(&[1, 1]);
    assert_eq!(refused(model.forward(&x)), message);
    assert_eq!(refused(model.get("weight")), message);
    assert_eq!(refused(model.set("weight", &x)), message);
    assert_eq!(refused(model.save(&path)), message);
    assert_eq!(refused(model.load(&path)), message);
    assert_eq!(refused(model.load_from("memory", std::io::empty())), message);
    assert_eq!(refused(Step::new(&model, Linear::<2, 2>::forward, Sgd::new(0.1))), message);
    assert_eq!(model.params().count(), 2);
    assert_eq!(model.param_count(), usize::MAX);
    // A step that was made for another model does not take it.
    let mut step = Step::new(&Model::new(Linear::new(2, 2), 0), Linear::<2, 2>::forward, Sgd::new(0.1))?;
    assert_eq!(refused(step.run(&mut model, &x)), message);
    Ok(())
}

/// A network by hand, whose parameters have computed names.
#[derive(Clone, Copy)]
struct Computed {
    names: [&'static str; 2],
    params: [Param; 2],
}

impl Network for Computed {
    const NAME: &'static str = "Computed";

    fn number(&mut self, next: usize) -> usize {
        self.params.iter_mut().fold(next, |next, param| param.number(next))
    }

    fn param(&self, id: usize, path: Message) -> Option<(Param, Message)> {
        (0..2).find_map(|i| self.params[i].param(id, path.field(self.names[i])))
    }

    fn same(&self, other: &Self) -> bool {
        self.names == other.names
    }
}

#[test]
fn two_parameters_of_one_name_are_refused() -> Result<()> {
    let net = |names| Computed { names, params: [Param::new(&[2], Init::Constant(1.0)); 2] };
    assert_eq!(Model::try_new(net(["a", "b"]), 0)?.get("b")?.data(), [1.0; 2]);
    let message = refused(Model::try_new(net(["a", "a"]), 0));
    assert!(message.starts_with("Computed has two parameters called `a`"), "{message}");
    let path = std::env::temp_dir().join(format!("names-{}.safetensors", std::process::id()));
    let mut model = Model::new(net(["a", "a"]), 0);
    assert_eq!(refused(model.save(&path)), message);
    assert_eq!(refused(model.load(&path)), message);
    assert_eq!(refused(model.get("a")), message);
    assert!(!path.exists());
    Ok(())
}

/// A loss with options, one of them in a layer.
#[network]
struct Options {
    #[option(1.0)]
    factor: f32,
    #[option(false)]
    twice: bool,
    norm: LayerNorm<2>,
    line: Linear<2, 1>,
}

#[network]
impl Options {
    fn loss(&self, x: Tensor<B, 2>) -> Tensor {
        let y = mean(self.line(self.norm(x)) * self.factor) + self.factor;
        if self.twice { y * 2.0 } else { y }
    }
}

#[test]
fn a_step_computes_with_the_options_of_its_model() -> Result<()> {
    let x = Tensor::new([1, 2], [1.0, -1.5])?;
    let net = Options::new();
    let mut models = [
        net,
        net.factor(100.0),
        net.twice(true),
        net.factor(0.0),
        net.factor(-0.0),
        net.checkpoint(true),
        Options { norm: net.norm.eps(1.0), ..net },
        net,
    ]
    .map(|net| Model::new(net, 0));
    let mut step = Step::new(&models[0], Options::loss, Sgd::new(0.0))?;
    for _ in 0..2 {
        for model in &mut models {
            let expected = model.call(Options::loss, &x)?[0].item()?;
            assert_eq!(step.run(model, &x)?.to_bits(), expected.to_bits(), "{:?}", model.net());
        }
    }
    Ok(())
}

#[test]
fn an_option_that_is_no_number_is_the_same_option() -> Result<()> {
    let net = Options::new().factor(f32::NAN);
    let (mut a, mut b) = (Model::new(net, 0), Model::new(net, 1));
    let mut step = Step::new(&a, Options::loss, Sgd::new(0.1))?;
    let x = Tensor::new([1, 2], [1.0, -1.5])?;
    for _ in 0..3 {
        assert!(step.differentiate(&mut a, &x)?.is_nan() && step.differentiate(&mut b, &x)?.is_nan());
    }
    let compiled = step.explain().lines().filter(|line| line.starts_with("Options::loss")).count();
    assert_eq!(compiled, 1, "one program for one set of options: {}", step.explain());
    Ok(())
}

mod data {
    use super::*;
    use downhill::data::{Batch, Batches, Column, Dataset, Row, split};

    /// So many samples of these columns, of which none can be read.
    struct Claimed(usize, Vec<Column>);

    impl Dataset for Claimed {
        fn len(&self) -> usize {
            self.0
        }

        fn columns(&self) -> Result<Vec<Column>> {
            Ok(self.1.clone())
        }

        fn read(&self, _sample: usize, _row: &mut Row<'_>) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_batch_has_as_many_elements_as_its_shape_says() -> Result<()> {
        let wide = vec![Column::new(DType::F32, [1 << 39])];
        let mut batch = Batch::new(&wide, 0)?;
        // 2^25 times 2^39 elements would be 2^64, which is 0.
        let samples = vec![0; 1 << 25];
        assert!(batch.fill(&Claimed(1, wide), &samples).is_err());
        assert_eq!((batch.len(), batch.shape(0)), (0, &[0, 1 << 39][..]));
        for shape in [vec![1 << 60], vec![1 << 32, 1 << 32], vec![usize::MAX, usize::MAX]] {
            assert!(Batch::new(&[Column::new(DType::I32, shape)], 16).is_err());
        }
        assert!(Batch::new(&[Column::new(DType::F32, [1 << 20])], usize::MAX).is_err());
        assert!(Batch::new(&vec![Column::new(DType::F32, []); 17], 1).is_err());
        assert!(Batch::new(&[Column::new(DType::Bool, [2])], 1).is_err());
        Ok(())
    }

    #[test]
    fn a_data_set_of_too_many_samples_is_refused() {
        let column = || vec![Column::new(DType::F32, [2])];
        for len in [usize::MAX, 1 << 60, 1 << 50] {
            assert!(Batches::new(&Claimed(len, column()), 4).is_err());
            assert!(split(&Claimed(len, column()), 0.5, 0).is_err());
            assert!(Batches::new(&Claimed(len, column()), usize::MAX).is_err());
        }
    }

    #[test]
    fn another_number_of_columns_than_inputs_is_refused() -> Result<()> {
        let mut model = Line::init(0);
        for n in [0, 1, 3, 16] {
            let data = Claimed(4, vec![Column::new(DType::F32, [4]); n]);
            assert!(Trainer::new(&mut model, Line::loss).progress(false).fit(&data, &(), Epochs(1)).is_err());
        }
        Ok(())
    }
}

/// Gradients by hand, of results with other shapes and of arguments that no rule admits, are refused. Nothing panics.
#[test]
fn wrong_gradients_are_refused() {
    type Staged = fn(&mut Stage, Value, isize, Grad) -> Grad;
    let operations: &[(&str, Staged)] = &[
        ("flip", |g, x, n, d| flip::grad(g, x, n, d).0),
        ("roll", |g, x, n, d| roll::grad(g, x, n, 1, d).0),
        ("cumsum", |g, x, n, d| cumsum::grad(g, x, n, d).0),
        ("transpose", |g, x, n, d| transpose::grad(g, x, n, 0, d).0),
        ("permute", |g, x, n, d| permute::grad(g, x, [n, 0], d).0),
        ("movedim", |g, x, n, d| movedim::grad(g, x, n, 0, d).0),
        ("repeat", |g, x, n, d| repeat::grad(g, x, n, 1, d).0),
        ("repeat_interleave", |g, x, n, d| repeat_interleave::grad(g, x, n, 1, d).0),
        ("slice", |g, x, n, d| slice::grad(g, x, n, 0, 3, d).0),
        ("pad", |g, x, n, d| pad::grad(g, x, n, 0, 0, d).0),
        ("pad_circular", |g, x, n, d| pad_circular::grad(g, x, n, 1, 1, d).0),
        ("stride", |g, x, n, d| stride::grad(g, x, n, 1, d).0),
        ("diagonal", |g, x, n, d| diagonal::grad(g, x, 0, n, 0, d).0),
        ("windows", |g, x, n, d| windows::grad(g, x, n, 1, 1, 1, d).0),
        ("overlap", |g, x, n, d| overlap::grad(g, x, n, 9, 1, 1, d).0),
        ("resize_linear", |g, x, n, d| resize_linear::grad(g, x, n, 3, false, 0.0, d).0),
        ("adaptive_avg", |g, x, n, d| adaptive_avg::grad(g, x, n, 2, d).0),
        ("adaptive_max", |g, x, n, d| adaptive_max::grad(g, x, n, 2, d).0),
        ("sum_axes", |g, x, n, d| sum_axes::grad(g, x, [n], d).0),
        ("prod_keepdim", |g, x, n, d| prod_keepdim::grad(g, x, [n], d).0),
        ("concat", |g, x, n, d| concat::grad(g, [x, x], n, d).0[0]),
        ("stack", |g, x, n, d| stack::grad(g, [x, x], n, d).0[0]),
        ("chunk", |g, x, n, d| chunk::grad(g, x, n, [d, d]).0),
        ("split", |g, x, n, d| split::grad(g, x, 2, n, [d, d]).0),
        ("unbind", |g, x, n, d| unbind::grad(g, x, n, [d, d]).0),
        ("take_rows", |g, x, n, d| {
            let rows = iota::stage(g, 2);
            take_rows::grad(g, x, rows, n, d).0
        }),
        ("gather", |g, x, n, d| {
            let rows = iota::stage(g, n);
            gather::grad(g, x, rows, d).0
        }),
        ("matmul", |g, x, _, d| matmul::grad(g, x, x, d).0),
        ("split_heads", |g, x, n, d| split_heads::grad(g, x, n, d).0),
        ("halves", |g, x, _, d| halves::grad(g, x, true, (d, None)).0),
        ("einsum", |g, x, _, d| einsum::grad(g, "ij,ij->i", [x, x], d).1[0]),
        ("slices", |g, x, n, d| slices::grad(g, [x], n, &[[d]])[0]),
    ];
    for (name, grad) in operations {
        for n in [-9, -3, 2, 8, 99, isize::MAX, isize::MIN] {
            for shape in [&[][..], &[7], &[2, 3, 2, 1, 1]] {
                let mut g = Stage::new();
                let x = g.input(0, &[3, 4], DType::F32);
                let dout = g.fill(1.0, shape);
                let d = grad(&mut g, x.into(), n, Some(dout));
                assert!(d.is_none() || g.error().is_some(), "{name}, {n}, {shape:?}");
            }
        }
        // A value of another graph.
        let mut other = Stage::new();
        let foreign = (0..99).map(|i| other.number(f64::from(i))).last();
        let mut g = Stage::new();
        let x = g.input(0, &[3, 4], DType::F32);
        let d = grad(&mut g, x.into(), 0, foreign);
        assert!(d.is_none() || g.error().is_some(), "{name}, of another graph");
    }
    let mut g = Stage::new();
    let number = g.number(1.0);
    assert_eq!(slices::unstack(&mut g, Some(number), 2, 0), [None, None]);
}
