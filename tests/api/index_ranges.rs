//! Which rows an index names: proved, compared before a run, or compared while it runs.

use anyhow::Result;
use downhill::prelude::*;
use downhill::shape::DType;
use downhill::{Error, Index, Input, Step, Tensor};

/// Twenty-six tables of different sizes, looked up by the columns of one index.
#[network]
struct Tables {
    small: Embedding<3, 2>,
    large: Embedding<10, 2>,
    last: Embedding<5, 2>,
}

#[network]
impl Tables {
    fn forward(&self, ids: Index<B, 4>) -> Tensor<B, 2> {
        let [a, b, _unused, c] = unbind(ids, 1);
        self.small(a) + self.large(b) + self.last(c)
    }

    fn loss(&self, ids: Index<B, 4>) -> Tensor {
        mean(square(self.forward(ids)))
    }

    /// The first half of each row goes into one table, each second entry of the rest into another.
    fn parts(&self, ids: Index<B, 4>) -> Tensor {
        let rest = flip(slice(ids, 1, 2, 4), 1);
        let [last, _unused] = unbind(rest, 1);
        mean(self.large(slice(ids, 1, 0, 2))) + mean(self.last(last))
    }

    /// Turned, so that no view has one stride for it, and cut again.
    fn turned(&self, ids: Index<B, 4>) -> Tensor {
        let flat = reshape(transpose(ids, 0, 1), [4 * B]);
        mean(self.small(slice(flat, 0, 0, B)))
    }

    /// Behind numbers of its own.
    fn behind(&self, ids: Index<B, 4>) -> Tensor {
        let flat = concat([iota(3), reshape(ids, [4 * B])], 0);
        mean(self.small(slice(flat, 0, 0, 5)))
    }
}

#[test]
fn each_column_has_the_bound_of_its_table() -> Result<()> {
    let model = Tables::init(0);
    // The third column reaches no table.
    let fits = Index::new([2, 4], [2, 9, i32::MIN, 4, 0, 0, i32::MAX, 0])?;
    model.forward(&fits)?;
    for (position, value, rows) in [(0, 3, 3), (4, -1, 3), (1, 10, 10), (5, -7, 10), (3, 5, 5), (7, i32::MAX, 5)] {
        let mut ids = fits.clone();
        ids.data_mut()[position] = value;
        match model.forward(&ids) {
            Err(Error::IndexRange { function, input, position: p, value: v, rows: r }) => {
                assert_eq!((function, input.as_str(), p, v, r), ("Tables::forward", "ids", position, value, rows));
            }
            other => panic!("{position}, {value}: {other:?}"),
        }
        let mut model = Tables::init(0);
        let mut step = Step::new(&model, Tables::loss, Sgd::new(0.1))?;
        assert!(matches!(step.run(&mut model, &ids), Err(Error::IndexRange { .. })));
        step.run(&mut model, &fits)?;
    }
    Ok(())
}

/// Each entry alone is refused exactly if it reaches a table that has no such row.
#[test]
fn bounds_hold_for_the_entries_that_are_read() -> Result<()> {
    let model = Tables::init(0);
    let large = |i: usize| matches!(i % 4, 0 | 1).then_some(10);
    let parts = |i: usize| if i % 4 == 3 { Some(5) } else { large(i) };
    let turned = |i: usize| i.is_multiple_of(4).then_some(3);
    let behind = |i: usize| (i < 2).then_some(3);
    let cases: [(_, &dyn Fn(usize) -> Option<usize>); 3] =
        [(Tables::parts, &parts), (Tables::turned, &turned), (Tables::behind, &behind)];
    for (function, limit) in cases {
        for place in 0..12 {
            for value in [-1, 2, 3, 4, 5, 9, 10] {
                let mut ids = Index::new([3, 4], vec![0; 12])?;
                ids.data_mut()[place] = value;
                let fits = limit(place).is_none_or(|rows| (0..rows as i32).contains(&value));
                match model.call(function, &ids) {
                    Ok(_) => assert!(fits, "{function:?}: {value} at {place}"),
                    Err(Error::IndexRange { position, value: v, rows, .. }) => {
                        assert!(!fits, "{function:?}: {value} at {place}");
                        assert_eq!((position, v, Some(rows)), (place, value, limit(place)), "{function:?}");
                    }
                    Err(error) => panic!("{function:?}: {error}"),
                }
            }
        }
    }
    Ok(())
}

#[network]
struct Computed {
    codes: Embedding<8, 3>,
    #[init(zeros)]
    turn: State,
}

#[network]
impl Computed {
    fn largest(&self, x: Tensor<B, 8>) -> Tensor<B, 8> {
        one_hot(argmax(x), 8)
    }

    fn nearest(&self, x: Tensor<B, 8>) -> Tensor<B, 3> {
        self.codes(argmin(x))
    }

    fn loops(&self, x: Tensor<N, 2>, from: Index<E>) -> Tensor {
        gather(x, concat([from, iota(N)], 0))
    }

    /// Cut to the table, as numbers and as whole numbers.
    fn cut(&self, x: Tensor<B>) -> Tensor {
        let cut = maximum(minimum(x, 7.0), 0.0);
        self.codes(integer(cut)) + self.codes(maximum(minimum(integer(x), 7), 0))
    }

    /// The cell of a grid.
    fn cell(&self, i: Index<B>, j: Index<B>) -> Tensor {
        self.codes(within(i, 2) * 4 + within(j, 4))
    }

    /// Targets that do not count look up the first row.
    fn padded(&self, ids: Index<B>) -> Tensor {
        let ids = within_or(ids, 8, -100);
        self.codes(select(ids == -100, 0, ids))
    }

    /// Targets that another network gives, and the row that each names along an axis.
    fn taught(&self, x: Tensor<B, 8>, teacher: Tensor<B, 8>) -> (Tensor, Tensor, Tensor) {
        let targets = argmax(teacher);
        let named = take_along(x, unsqueeze(argmax(x), -1), -1);
        (cross_entropy(x, targets), accuracy(x, targets), squeeze(named, [-1]))
    }

    /// Anything, compared when it is computed.
    fn promised(&self, x: Tensor<B>) -> Tensor {
        self.codes(within(integer(x), 8))
    }

    fn marked(&self, x: Tensor<B>) -> Tensor {
        one_hot(integer(x), 8)
    }

    fn unknown(&self, x: Tensor<B>) -> Tensor {
        self.codes(integer(x))
    }

    /// A state that counts and looks up its row.
    fn loss(&self, x: Tensor<B>) -> Tensor {
        self.turn = self.turn + 3.0;
        sum(self.codes(within(integer(self.turn), 8))) + mean(x)
    }

    fn trained(&self, x: Tensor<B>) -> Tensor {
        mean(square(self.codes(within(integer(x), 8))))
    }
}

#[test]
fn an_index_that_is_computed_has_a_range() -> Result<()> {
    let model = Computed::init(0);
    let table = model.get("codes.weight")?;
    let row = |i: usize| table.data()[3 * i..3 * i + 3].to_vec();
    let x = Tensor::new([2, 8], [0.5, 1.0, 7.0, 2.0, -1.0, 3.0, 0.0, 7.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -7.0])?;
    let found = model.call(Computed::largest, &x)?;
    let hot: Vec<usize> = found[0].data().iter().enumerate().filter(|(_, x)| **x == 1.0).map(|(i, _)| i).collect();
    assert_eq!(hot, [2, 8 + 6]);
    assert_eq!(model.call(Computed::nearest, &x)?[0].data(), [row(4), row(7)].concat());
    let (nodes, from) =
        (Tensor::new([4, 2], (0..8).map(|x| x as f32).collect::<Vec<_>>())?, Index::new([3], [0, 1, 3])?);
    let found = model.call(Computed::loops, (&nodes, &from))?;
    assert_eq!(found[0].data(), [0., 1., 2., 3., 6., 7., 0., 1., 2., 3., 4., 5., 6., 7.]);
    let from = Index::new([3], [0, 4, 3])?;
    let error = model.call(Computed::loops, (&nodes, &from)).unwrap_err();
    assert_eq!(error.to_string(), "Computed::loops: `from` holds 4 at position 1, expected 0 to 3");
    // No number, and numbers that no whole number is near.
    let x = Tensor::new([5], [f32::NAN, -3.0, 1e30, 2.9, 7.5])?;
    let twice = [0, 0, 7, 2, 7].map(|i| row(i).into_iter().map(|x| 2.0 * x).collect::<Vec<_>>()).concat();
    assert_eq!(model.call(Computed::cut, &x)?[0].data(), twice);
    let (i, j) = (Index::new([2], [1, 0])?, Index::new([2], [3, 2])?);
    assert_eq!(model.call(Computed::cell, (&i, &j))?[0].data(), [row(7), row(2)].concat());
    let error = model.call(Computed::cell, (&j, &i)).unwrap_err().to_string();
    assert_eq!(error, "Computed::cell: `i` holds 3 at position 0, expected 0 to 1");
    let ids = Index::new([3], [5, -100, 1])?;
    assert_eq!(model.call(Computed::padded, &ids)?[0].data(), [row(5), row(0), row(1)].concat());
    Ok(())
}

#[test]
fn what_no_range_proves_is_refused_or_compared() -> Result<()> {
    let mut model = Computed::init(0);
    let x = Tensor::new([3], [1.0, 7.9, 2.0])?;
    let error = model.call(Computed::unknown, &x).unwrap_err().to_string();
    let expected = "Computed::unknown: gather: an index into 8 rows is computed, and its range is not known: \
                    `within(index, 8)` compares it when it runs";
    assert_eq!(error, expected);
    for function in [Computed::promised, Computed::marked] {
        model.call(function, &x)?;
        for (wrong, value) in [(8.0, 8), (-1.0, -1), (1e30, i32::MAX), (f32::NEG_INFINITY, i32::MIN)] {
            let x = Tensor::new([3], [1.0, wrong, wrong])?;
            match model.call(function, &x) {
                Err(Error::IndexRange { input, position, value: v, rows, .. }) => {
                    assert_eq!((input.as_str(), position, v, rows), ("the index of within", 1, value, 8));
                }
                other => panic!("{wrong}: {other:?}"),
            }
        }
        // A refused run leaves nothing behind.
        model.call(function, &x)?;
    }
    let mut step = Step::new(&model, Computed::trained, Adam::new(0.1))?;
    step.run(&mut model, &x)?;
    let before = model.get("codes.weight")?;
    let wrong = Tensor::new([3], [1.0, 9.0, 2.0])?;
    assert!(matches!(step.run(&mut model, &wrong), Err(Error::IndexRange { value: 9, position: 1, rows: 8, .. })));
    assert_eq!(model.get("codes.weight")?, before);
    assert_eq!(step.steps(), 1);
    step.run(&mut model, &x)?;
    Ok(())
}

#[test]
fn a_state_that_names_no_row_is_not_kept() -> Result<()> {
    let mut model = Computed::init(0);
    let mut step = Step::new(&model, Computed::loss, Sgd::new(0.1))?;
    let x = Tensor::new([2], [0.0, 0.0])?;
    step.run(&mut model, &x)?;
    step.run(&mut model, &x)?;
    assert_eq!(model.get("turn")?.data(), [6.0]);
    let before = model.get("codes.weight")?;
    let error = step.run(&mut model, &x).unwrap_err().to_string();
    assert_eq!(error, "Computed::loss: `the index of within` holds 9 at position 0, expected 0 to 7");
    assert_eq!((model.get("turn")?.data(), model.get("codes.weight")?), (&[6.0][..], before));
    Ok(())
}

/// In double precision this is index 1, in single precision an infinite number.
#[test]
fn an_index_is_what_the_kernel_computes() -> Result<()> {
    let mut g = Stage::new();
    let (x, table) = (g.input(0, &[1], DType::F32), g.input(1, &[2, 1], DType::F32));
    let mut y = Value::Var(x);
    for factor in [1e30, 1e30, 1e-30, 1e-30] {
        y = mul::stage(&mut g, y, factor);
    }
    let index = integer::stage(&mut g, y);
    let promised = within::stage(&mut g, index, 2);
    let rows = [index, promised].map(|index| gather::stage(&mut g, table, index));
    let (x, table) = (Tensor::new([1], [1.0])?, Tensor::new([2, 1], [5.0, 5.0])?);
    let inputs = [Input::from(&x), Input::from(&table)];
    let error = g.compute(&[rows[0]], &inputs).unwrap_err().to_string();
    assert!(error.contains("its range is not known"), "{error}");
    let error = g.compute(&[rows[1]], &inputs).unwrap_err().to_string();
    assert_eq!(error, "graph: `the index of within` holds 2147483647 at position 0, expected 0 to 1");
    assert!(g.compile(&[rows[0]]).is_err());
    Ok(())
}

/// What has a range by arithmetic, and names a row each time; `cargo check` admits all of it.
#[network]
struct Ranged<const N: usize> {
    codes: Embedding<8, 1>,
    small: Embedding<4, 1>,
    many: Embedding<N, 1>,
}

#[network]
impl<const N: usize> Ranged<N> {
    fn arithmetic(&self, x: Tensor<B, 4>) -> (Tensor, Tensor, Tensor, Tensor) {
        let place = argmax(x);
        let shifted = self.codes(slice(iota(9), 0, 1, 9) - 1);
        (self.codes(place * 2 + 1), shifted, self.codes(7 - place), self.small(flip(iota(4), 0)))
    }

    fn views(&self, x: Tensor<B, 8>) -> (Tensor, Tensor, Tensor, Tensor) {
        let [low, high] = chunk(iota(8), 0);
        let turned = transpose(reshape(iota(8), [2, 4]), 0, 1);
        let [_first, second] = unbind(iota(2), 0);
        let parts = self.small(low) + self.small(high - 4);
        (parts, self.codes(turned), self.small(second), self.codes(roll(unsqueeze(argmax(x), 0), 1, 1)))
    }

    /// Cells of a grid of rows of four, and their places in a row.
    fn grid(&self, i: Index<B>) -> (Tensor, Tensor) {
        let i = float(within(i, 32));
        (self.codes(integer(floor(i / 4.0))), self.small(integer(remainder(i, 4.0))))
    }

    /// Offsets that come round at both ends.
    fn round_trip(&self, i: Index<B>) -> Tensor {
        self.codes(integer(remainder(float(within(i, 8)) - 3.0, 8.0)))
    }

    /// Numbers in so many steps.
    fn steps(&self, x: Tensor<B>) -> (Tensor, Tensor, Tensor) {
        let level = minimum(floor(clamp(x, 0.0, 1.0) * 8.0), 7.0);
        let many = clamp(x * N as f32, 0.0, (N - 1) as f32);
        (self.codes(integer(level)), self.many(integer(many)), self.codes(integer(round(clamp(x, 0.0, 7.0)))))
    }

    /// Where a mask says which numbers are left.
    fn masked(&self, x: Tensor<B, 16>) -> (Tensor, Tensor, Tensor, Tensor) {
        let place = argmax(x);
        let in_table = (place >= 4) & (place < 12);
        (
            self.codes(select(place < 8, place, 0)),
            self.codes(select(in_table, place - 4, 0)),
            self.codes(select(place > 7, 7, place)),
            self.codes(select(!(place >= 7), place + 1, 7)),
        )
    }

    /// Truth values as numbers.
    fn flags(&self, x: Tensor<B>) -> Tensor {
        self.small(integer(x > 0.0) * 2 + integer(x > 1.0))
    }

    /// One branch is never taken.
    fn never(&self, x: Tensor<B, 4>) -> Tensor {
        let place = argmax(x);
        self.small(select(place < 4, place, 9))
    }
}

#[test]
fn what_has_a_range_is_looked_up() -> Result<()> {
    let mut model = Ranged::<5>::init(0);
    let row = |n: usize| Tensor::new([n, 1], (0..n).map(|x| x as f32).collect::<Vec<_>>());
    for (name, rows) in [("codes", 8), ("small", 4), ("many", 5)] {
        model.set(&format!("{name}.weight"), &row(rows)?)?;
    }
    let found = |results: Vec<Tensor>| results.iter().map(|x| x.data().to_vec()).collect::<Vec<_>>();
    let x = Tensor::new([2, 4], [0., 0., 0., 1., 1., 0., 0., 0.])?;
    let expected = [vec![7., 1.], (0..8).map(|x| x as f32).collect(), vec![4., 7.], vec![3., 2., 1., 0.]];
    assert_eq!(found(model.call(Ranged::<5>::arithmetic, &x)?), expected);
    let mut x = Tensor::new([2, 8], [0.0; 16])?;
    (x.data_mut()[6], x.data_mut()[9]) = (1.0, 1.0);
    let expected =
        [vec![0., 2., 4., 6.], vec![0., 4., 1., 5., 2., 6., 3., 7.], vec![1.], vec![1., 6.]].map(|x| x.to_vec());
    assert_eq!(found(model.call(Ranged::<5>::views, &x)?), expected);
    let i = Index::new([4], [0, 5, 18, 31])?;
    assert_eq!(found(model.call(Ranged::<5>::grid, &i)?), [[0., 1., 4., 7.], [0., 1., 2., 3.]]);
    let i = Index::new([4], [0, 2, 3, 7])?;
    assert_eq!(found(model.call(Ranged::<5>::round_trip, &i)?), [[5., 7., 0., 4.]]);
    let x = Tensor::new([4], [-1.0, 0.3, 0.999, 6.6])?;
    let expected = [[0., 2., 7., 7.], [0., 1., 4., 4.], [0., 0., 1., 7.]];
    assert_eq!(found(model.call(Ranged::<5>::steps, &x)?), expected);
    let mut x = Tensor::new([4, 16], [0.0; 64])?;
    for (row, place) in [(0, 2), (1, 5), (2, 11), (3, 15)] {
        x.data_mut()[16 * row + place] = 1.0;
    }
    let expected = [[2., 5., 0., 0.], [0., 1., 7., 0.], [2., 5., 7., 7.], [3., 6., 7., 7.]];
    assert_eq!(found(model.call(Ranged::<5>::masked, &x)?), expected);
    let x = Tensor::new([3], [-1.0, 0.5, 2.0])?;
    assert_eq!(found(model.call(Ranged::<5>::flags, &x)?), [[0., 2., 3.]]);
    let x = Tensor::new([1, 4], [0.0, 0.0, 1.0, 0.0])?;
    assert_eq!(found(model.call(Ranged::<5>::never, &x)?), [[2.]]);
    Ok(())
}

/// Entries that a mask keeps from the table may be any number.
#[network]
struct Masked {
    codes: Embedding<4, 1>,
}

#[network]
impl Masked {
    fn marked(&self, ids: Index<B>) -> Tensor {
        self.codes(select(ids == -1, 0, ids))
    }

    fn negative(&self, ids: Index<B>) -> Tensor {
        self.codes(select(ids < 0, 0, ids))
    }

    fn last(&self, ids: Index<B>) -> Tensor {
        self.codes(select(ids >= 4, 3, ids))
    }

    fn kept(&self, ids: Index<B>) -> Tensor {
        self.codes(select(ids != -100, ids, 0))
    }

    fn both(&self, ids: Index<B>) -> Tensor {
        self.codes(select((ids == -1) | (ids == -100), 0, ids))
    }

    /// Any number is brought into the table.
    fn cut(&self, ids: Index<B>) -> Tensor {
        self.codes(select(ids < 0, 0, select(4 <= ids, 3, ids)))
    }

    fn inside(&self, ids: Index<B>) -> Tensor {
        self.codes(select((ids >= 0) & !(ids > 3), ids, 0))
    }

    fn bounded(&self, ids: Index<B>) -> Tensor {
        self.codes(maximum(minimum(ids, 3), 0))
    }

    /// Through views of the mask and of what it chooses from.
    fn viewed(&self, ids: Index<B>) -> Tensor {
        let pad = unsqueeze(ids == -1, 1);
        let rows = self.codes(select(pad, 0, unsqueeze(ids, 1)));
        select(broadcast_to(unsqueeze(pad, -1), [B, 1, 1]), 9.0, rows)
    }

    /// The mask of another value says nothing of this one.
    fn other(&self, ids: Index<B>, of: Index<B>) -> Tensor {
        self.codes(select(of == -1, 0, ids))
    }

    /// One use behind a mask, and one without.
    fn twice(&self, ids: Index<B>) -> Tensor {
        self.codes(select(ids == -1, 0, ids)) + self.codes(ids)
    }

    /// Bounds that another input gives say nothing.
    fn between(&self, ids: Index<B>, of: Index<B>) -> Tensor {
        self.codes(select(ids < of, ids, 0))
    }
}

#[test]
fn entries_that_a_mask_excludes_may_be_any() -> Result<()> {
    let mut model = Masked::init(0);
    model.set("codes.weight", &Tensor::new([4, 1], [0.0, 1.0, 2.0, 3.0])?)?;
    type Case = (downhill::network::Function<Masked>, fn(i32) -> Option<i32>);
    fn named(x: i32) -> Option<i32> {
        (0..4).contains(&x).then_some(x)
    }
    let cases: [Case; 9] = [
        (Masked::marked, |x| named(if x == -1 { 0 } else { x })),
        (Masked::negative, |x| named(x.max(0))),
        (Masked::last, |x| named(x.min(3))),
        (Masked::kept, |x| named(if x == -100 { 0 } else { x })),
        (Masked::both, |x| named(if x == -1 || x == -100 { 0 } else { x })),
        (Masked::cut, |x| Some(x.clamp(0, 3))),
        (Masked::inside, |x| Some(named(x).unwrap_or(0))),
        (Masked::bounded, |x| Some(x.clamp(0, 3))),
        (Masked::viewed, |x| if x == -1 { Some(9) } else { named(x) }),
    ];
    for (function, expected) in cases {
        for x in [i32::MIN, -101, -100, -99, -2, -1, 0, 1, 3, 4, 5, i32::MAX] {
            let ids = Index::new([2], [2, x])?;
            match (model.call(function, &ids), expected(x)) {
                (Ok(found), Some(expected)) => assert_eq!(found[0].data(), [2.0, expected as f32], "{function:?}: {x}"),
                (Err(Error::IndexRange { input, position, value, rows, .. }), None) => {
                    assert_eq!((input.as_str(), position, value, rows), ("ids", 1, x, 4), "{function:?}");
                }
                (found, expected) => panic!("{function:?}: {x}: {found:?}, expected {expected:?}"),
            }
        }
    }
    let ids = Index::new([2], [2, -1])?;
    for function in [Masked::other, Masked::between] {
        let error = model.call(function, (&ids, &Index::new([2], [-1, -1])?)).unwrap_err().to_string();
        assert!(error.ends_with("`ids` holds -1 at position 1, expected 0 to 3"), "{error}");
    }
    assert!(model.call(Masked::twice, &ids).is_err());
    model.call(Masked::twice, &Index::new([2], [2, 0])?)?;
    Ok(())
}

/// What sizes of the inputs decide is refused before anything is staged, with the name of what was called.
#[test]
fn a_range_that_inputs_decide_is_seen_when_they_are_there() -> Result<()> {
    #[network]
    struct Counted {
        codes: Embedding<4, 1>,
    }

    #[network]
    impl Counted {
        fn positions(&self, x: Tensor<B, T>) -> Tensor {
            self.codes(iota(T)) + mean(x)
        }

        fn places(&self, x: Tensor<B, T>) -> Tensor {
            one_hot(argmax(x) + 1, 4)
        }
    }

    let model = Counted::init(0);
    let x = |n: usize| Tensor::new([1, n], vec![0.0; n]);
    model.call(Counted::positions, &x(4)?)?;
    let error = model.call(Counted::positions, &x(5)?).unwrap_err().to_string();
    assert_eq!(error, "Counted::positions: Embedding::forward: an index from 0 to 4 reaches a table of 4 rows");
    model.call(Counted::places, &x(8)?)?;
    let mut last = x(4)?;
    last.data_mut()[3] = 1.0;
    let error = model.call(Counted::places, &last).unwrap_err().to_string();
    assert_eq!(error, "Counted::places: `the index of within` holds 4 at position 0, expected 0 to 3");
    Ok(())
}
