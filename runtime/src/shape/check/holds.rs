//! What shape rules know of the elements of a tensor.
//!
//! A rule refuses an index only if the verifier of the staged graph would refuse it. So two intervals are kept apart:
//! of elements that the function itself determines (`known`), and of elements that come from its arguments, of which
//! nothing is known (`open`), until a clamp or a promise bounds them. Values of which the verifier may know more, such
//! as a constant that staging folds, are `vague`. A mask refines the values that it compares, here as in the verifier.
//! Since values have no identity here, every value with the interval of a compared value is refined.

use super::interval::{Interval, Refinement};
use super::{Check, Message};
use crate::ir::elementwise::{Binary, Compare, Unary};
use crate::shape::{DType, Dim, Rows};

/// What is known of the elements of a tensor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holds {
    /// The elements that the function itself determines, whatever its arguments are.
    pub(crate) known: Interval,
    /// Further elements, which come from an argument.
    pub(crate) open: Interval,
    /// Whether the verifier may know more of `open`: some elements are computed from constants that are folded when the
    /// function is staged, or were chosen by a mask whose refinements were not all noted.
    vague: bool,
    /// Whether both ends of `known` are elements.
    pub(crate) sure: bool,
    order: Order,
    /// The note of the operands of a sum or another elementwise operation.
    operands: Note,
    /// The note of the refinements by a mask.
    refinement: Note,
}

/// Whether elements are 0, 1, 2, … in order, so that a part of them has an interval of its own.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// The elements count, under any shape.
    Counts,
    /// The elements counted before a transposition, and may count again after another one.
    Changed,
    /// The elements do not count.
    Other,
}

impl Holds {
    /// Elements of which nothing is known.
    pub(crate) const fn open(dtype: DType) -> Holds {
        match dtype {
            // A mask holds or does not.
            DType::Bool => Holds::of(Interval::any(dtype)),
            _ => Holds { open: Interval::of_argument(dtype), ..Holds::of(Interval::NONE) },
        }
    }

    /// Elements of which the verifier may know more.
    pub(crate) const fn vague(dtype: DType) -> Holds {
        match dtype {
            DType::Bool => Holds::mask(Interval::any(dtype), true),
            _ => Holds { vague: true, ..Holds::open(dtype) },
        }
    }

    /// Elements that are computed and may be any number.
    pub(crate) const fn computed(dtype: DType) -> Holds {
        Holds::of(Interval::any(dtype))
    }

    /// Elements in an interval.
    pub(crate) const fn of(known: Interval) -> Holds {
        Holds {
            known,
            open: Interval::NONE,
            vague: false,
            sure: known.is_one(),
            order: Order::Other,
            operands: Note::NONE,
            refinement: Note::NONE,
        }
    }

    /// A mask.
    const fn mask(interval: Interval, vague: bool) -> Holds {
        match vague {
            true => Holds { open: interval, vague, ..Holds::of(Interval::NONE) },
            false => Holds::of(interval),
        }
    }

    /// 0, 1, … n − 1.
    pub(crate) const fn count(n: isize) -> Holds {
        Holds { sure: true, order: Order::Counts, ..Holds::of(Interval::whole(0.0, n as f64 - 1.0)) }
    }

    /// Whole numbers from 0 to n − 1, in any order.
    pub(crate) const fn below(n: isize) -> Holds {
        Holds { sure: true, ..Holds::of(Interval::whole(0.0, n as f64 - 1.0)) }
    }

    /// A number as an element.
    pub(crate) const fn number(x: f64, dtype: DType) -> Holds {
        Holds::of(Interval::exactly(x).rounded(dtype))
    }

    /// The interval of all elements.
    pub(crate) const fn all(self) -> Interval {
        self.known.hull(self.open)
    }

    /// Whether all elements are one number.
    const fn is_one(self) -> bool {
        self.known.is_one() && self.open.is_none()
    }

    const fn is_zero(self) -> bool {
        self.is_one() && self.known.low == 0.0
    }

    /// Whether the same is known of both tensors.
    pub(crate) const fn same(self, with: Holds) -> bool {
        let noted = self.operands.0 == with.operands.0 && self.refinement.0 == with.refinement.0;
        self.known.same(with.known) && self.open.same(with.open) && noted
    }

    /// The union of two sets of elements.
    pub(crate) const fn hull(self, with: Holds) -> Holds {
        let sure = (self.sure || self.known.is_none()) && (with.sure || with.known.is_none());
        let (open, vague) = (self.open.hull(with.open), self.vague || with.vague);
        Holds { open, vague, sure, ..Holds::of(self.known.hull(with.known)) }
    }

    /// All elements in another order, or several times.
    pub(crate) const fn permuted(self) -> Holds {
        let order = match self.order {
            Order::Counts => Order::Changed,
            order => order,
        };
        Holds { order, ..self }
    }

    /// Some of the elements.
    pub(crate) const fn part(self) -> Holds {
        Holds { sure: self.is_one(), order: Order::Other, ..self }
    }

    /// `count` elements of a tensor with a single axis, from `start` on in steps of `step`; `None` for a number that is
    /// not known.
    pub(crate) const fn slice(self, start: Option<isize>, step: isize, count: Option<isize>, dtype: DType) -> Holds {
        match (self.order, start, count) {
            (Order::Other, ..) => self.part(),
            (Order::Counts, Some(start), Some(count)) => {
                let (first, last) = (start as f64, (start + (count - 1) * step) as f64);
                Holds { sure: true, ..Holds::of(Interval::whole(first.min(last), first.max(last))) }
            }
            _ => Holds::vague(dtype),
        }
    }

    /// The results of an operation: all known if the operation itself bounds the open ones.
    const fn closed(known: Interval, open: Interval, vague: bool) -> Holds {
        match open.is_own() && !vague {
            true => Holds::of(known.hull(open)),
            false => Holds { open, vague, ..Holds::of(known) },
        }
    }

    /// The results of a function of one number.
    pub(crate) const fn unary(self, op: Unary, dtype: DType) -> Holds {
        let (known, open) = (op.interval(self.known, dtype), op.interval(self.open, dtype));
        if self.is_one() && !known.is_one() {
            return Holds::vague(dtype);
        }
        let sure = self.sure && matches!(op, Unary::Neg | Unary::Floor);
        Holds { sure, ..Holds::closed(known, open, self.vague) }
    }

    /// The same elements as another type.
    pub(crate) const fn cast(self, from: DType, to: DType) -> Holds {
        let open = self.open.cast(from, to);
        Holds { open, vague: self.vague, sure: self.sure, ..Holds::of(self.known.cast(from, to)) }
    }

    /// The elements that are left if all are promised to name one of these rows.
    pub(crate) const fn within(self, rows: Rows) -> Holds {
        match self.vague {
            true => Holds { open: self.open.within(rows), vague: true, ..Holds::of(self.known.within(rows)) },
            false => Holds::of(self.all().within(rows)),
        }
    }

    /// Sums of so many elements each; `None` where the number is not known.
    pub(crate) const fn sum(self, count: Option<isize>) -> Holds {
        match count {
            Some(1) => self,
            _ if self.vague || self.is_one() => Holds::vague(DType::F32),
            Some(count) if self.open.is_none() => Holds::of(self.known.sum(count as f64)),
            Some(count) => Holds { open: self.all().sum(count as f64), ..Holds::of(Interval::NONE) },
            None => Holds::open(DType::F32),
        }
    }

    /// Products of so many elements each.
    pub(crate) const fn product(self, count: Option<isize>) -> Holds {
        match count {
            Some(1) => self,
            _ if self.vague || self.is_one() => Holds::vague(DType::F32),
            Some(_) if self.open.is_none() => Holds::computed(DType::F32),
            _ => Holds::open(DType::F32),
        }
    }

    /// Refuses an index with an entry that names none of the rows of a table. A promised index whose bounds may be too
    /// wide is not refused: its entries are compared when the program runs.
    #[track_caller]
    pub(crate) const fn names_rows(self, cx: &mut Check, op: &str, rows: Dim, promised: bool) -> bool {
        let Some(count) = rows.get() else { return true };
        if count < 1 || self.known.is_within(Rows::below(count as usize)) || promised && !self.sure {
            return true;
        }
        let name = match cx.caller {
            Some(name) => name,
            None => op,
        };
        let message = reach(Message::new().str(name).str(": "), self.known, count, promised);
        cx.error(if self.sure { message } else { advice(message, count) });
        false
    }
}

/// The error of an index that reaches beyond the rows of a table, or beyond the rows that were promised.
pub(crate) const fn reach(message: Message, index: Interval, rows: isize, promised: bool) -> Message {
    if index.is_any(DType::I32) {
        return message.str("an index into ").rows(rows).str(" is computed, and its range is not known");
    }
    let message = message.str("an index ");
    let message = match index.low == index.high {
        true => message.str("of ").num(index.low as isize),
        false => message.str("from ").num(index.low as isize).str(" to ").num(index.high as isize),
    };
    let message = match index.other {
        Some(other) => message.str(" or ").num(other as isize),
        None => message,
    };
    match promised {
        true => message.str(" is promised to be from 0 to ").num(rows - 1),
        false => message.str(" reaches a table of ").rows(rows),
    }
}

/// Advice for an index that is in range for a reason that the rules cannot prove.
pub(crate) const fn advice(message: Message, rows: isize) -> Message {
    message.str(": `within(index, ").num(rows).str(")` compares it when it runs")
}

/// The number of a note, counted from one; zero for none.
#[derive(Clone, Copy, Debug)]
struct Note(u32);

impl Note {
    const NONE: Note = Note(0);
}

/// Notes about masks and elementwise results beside their types. Types are copied, so that they hold the number of a
/// note; only the latest notes are stored, since an operation on a mask or sum usually follows soon.
pub(crate) struct Notes {
    masks: [Mask; Notes::MASKS],
    sums: [Operands; Notes::SUMS],
    mask: u32,
    sum: u32,
}

/// The refinements of the values that a mask compares. Values are identified by their intervals alone.
#[derive(Clone, Copy)]
struct Mask {
    about: [Interval; Mask::VALUES],
    refined: [Refinement; Mask::VALUES],
    len: usize,
    /// Whether the mask compares more values than fit.
    more: bool,
}

/// The operands of an elementwise operation: the `known` and the `open` interval of each.
#[derive(Clone, Copy)]
struct Operands {
    op: Binary,
    a: [Interval; 2],
    b: [Interval; 2],
}

/// The result of looking up a note.
enum Found<T> {
    /// There was no note.
    Nothing,
    Some(T),
    /// Later notes have replaced it.
    Lost,
}

impl Mask {
    const VALUES: usize = 4;
    const EMPTY: Mask = Mask {
        about: [Interval::NONE; Mask::VALUES],
        refined: [Refinement::none(Interval::NONE); Mask::VALUES],
        len: 0,
        more: false,
    };

    /// The refinement of values with this interval.
    const fn of(&self, about: Interval) -> Refinement {
        let mut i = 0;
        while i < self.len {
            if self.about[i].same(about) {
                return self.refined[i];
            }
            i += 1;
        }
        Refinement::none(about)
    }

    const fn has(&self, about: Interval) -> bool {
        let mut i = 0;
        while i < self.len {
            if self.about[i].same(about) {
                return true;
            }
            i += 1;
        }
        false
    }

    /// Adds the refinement of one more value.
    const fn add(mut self, about: Interval, refined: Refinement) -> Mask {
        if about.is_none() {
            return self;
        }
        let mut i = 0;
        while i < self.len {
            if self.about[i].same(about) {
                self.refined[i] = self.refined[i].and(refined);
                return self;
            }
            i += 1;
        }
        if self.len == Mask::VALUES {
            self.more = true;
            return self;
        }
        self.about[self.len] = about;
        self.refined[self.len] = refined;
        self.len += 1;
        self
    }

    /// The refinement of values with this interval where the mask holds, or where it does not.
    const fn left(&self, about: Interval, holds: bool) -> Interval {
        let refined = self.of(about);
        if holds { refined.holds } else { refined.fails }
    }
}

impl Operands {
    const NONE: Operands = Operands { op: Binary::Add, a: [Interval::NONE; 2], b: [Interval::NONE; 2] };

    /// The `known` and the `open` interval of the results.
    const fn results(self, dtype: DType) -> [Interval; 2] {
        let Operands { op, a, b } = self;
        let open = op.interval(a[0], b[1], dtype).hull(op.interval(a[1], b[0], dtype));
        [op.interval(a[0], b[0], dtype), open.hull(op.interval(a[1], b[1], dtype))]
    }

    /// The operands where a mask holds, or where it does not.
    const fn left(self, mask: &Mask, holds: bool) -> Operands {
        let (a, b) = (self.a, self.b);
        Operands {
            op: self.op,
            a: [mask.left(a[0], holds), mask.left(a[1], holds)],
            b: [mask.left(b[0], holds), mask.left(b[1], holds)],
        }
    }
}

/// A logical operation on masks.
#[derive(Clone, Copy)]
pub(crate) enum Logic {
    /// The conjunction.
    And,
    /// The disjunction.
    Or,
    /// The negation.
    Not,
}

impl Notes {
    const MASKS: usize = 4;
    const SUMS: usize = 8;

    pub(crate) const fn new() -> Notes {
        Notes { masks: [Mask::EMPTY; Notes::MASKS], sums: [Operands::NONE; Notes::SUMS], mask: 0, sum: 0 }
    }

    const fn note_mask(&mut self, mask: Mask) -> Note {
        if mask.len == 0 && !mask.more {
            return Note::NONE;
        }
        self.mask += 1;
        self.masks[self.mask as usize % Notes::MASKS] = mask;
        Note(self.mask)
    }

    const fn note_sum(&mut self, operands: Operands) -> Note {
        self.sum += 1;
        self.sums[self.sum as usize % Notes::SUMS] = operands;
        Note(self.sum)
    }

    const fn mask(&self, note: Note) -> Found<Mask> {
        if note.0 == 0 {
            Found::Nothing
        } else if note.0 > self.mask || self.mask - note.0 >= Notes::MASKS as u32 {
            Found::Lost
        } else {
            let mask = self.masks[note.0 as usize % Notes::MASKS];
            if mask.more { Found::Lost } else { Found::Some(mask) }
        }
    }

    const fn sum(&self, note: Note) -> Found<Operands> {
        if note.0 == 0 {
            Found::Nothing
        } else if note.0 > self.sum || self.sum - note.0 >= Notes::SUMS as u32 {
            Found::Lost
        } else {
            Found::Some(self.sums[note.0 as usize % Notes::SUMS])
        }
    }

    /// The results of a function of two numbers.
    pub(crate) const fn binary(&mut self, op: Binary, a: Holds, b: Holds, dtype: DType) -> Holds {
        let operands = Operands { op, a: [a.known, a.open], b: [b.known, b.open] };
        let [known, open] = operands.results(dtype);
        if a.is_one() && b.is_one() && !known.is_one() {
            return Holds::vague(dtype);
        }
        // Staging makes zero of what is multiplied by zero, and of zero over something.
        let zero = match op {
            Binary::Mul => a.is_zero() || b.is_zero(),
            Binary::Div => a.is_zero(),
            _ => false,
        };
        if zero && dtype.same(DType::F32) {
            return Holds::number(0.0, dtype);
        }
        let mut out = Holds::closed(known, open, a.vague || b.vague);
        out.sure = op.is_monotonic() && !known.is_any(dtype) && (a.sure && b.is_one() || a.is_one() && b.sure);
        out.operands = self.note_sum(operands);
        out
    }

    /// The results of a comparison.
    pub(crate) const fn compare(&mut self, op: Compare, a: Holds, b: Holds) -> Holds {
        let (x, y, mut mask, mut i) = ([a.known, a.open], [b.known, b.open], Mask::EMPTY, 0);
        while i < 2 {
            if !a.is_one() {
                let (holds, fails) = (op.left(x[i], b.all(), true), op.left(x[i], b.all(), false));
                mask = mask.add(x[i], Refinement { holds, fails });
            }
            if !b.is_one() {
                let (holds, fails) = (op.right(a.all(), y[i], true), op.right(a.all(), y[i], false));
                mask = mask.add(y[i], Refinement { holds, fails });
            }
            i += 1;
        }
        Holds { refinement: self.note_mask(mask), ..Holds::mask(op.interval(a.all(), b.all()), a.vague || b.vague) }
    }

    /// A logical operation on two masks; for a negation, `b` is `a`.
    pub(crate) const fn join(&mut self, op: Logic, a: Holds, b: Holds) -> Holds {
        let (x, y) = (a.all(), b.all());
        let known = match op {
            Logic::And => x.smaller(y),
            Logic::Or => x.larger(y),
            Logic::Not => Interval::whole(1.0 - x.high, 1.0 - x.low),
        };
        let mut out = Holds::mask(known, a.vague || b.vague);
        let (a, b) = match (self.mask(a.refinement), self.mask(b.refinement)) {
            (Found::Lost, _) | (_, Found::Lost) => {
                out.refinement = self.note_mask(Mask { more: true, ..Mask::EMPTY });
                return out;
            }
            (Found::Some(a), Found::Some(b)) => (a, b),
            (Found::Some(a), Found::Nothing) => (a, Mask::EMPTY),
            (Found::Nothing, Found::Some(b)) => (Mask::EMPTY, b),
            (Found::Nothing, Found::Nothing) => return out,
        };
        let (mut mask, mut i) = (Mask::EMPTY, 0);
        while i < a.len + b.len {
            let about = if i < a.len { a.about[i] } else { b.about[i - a.len] };
            if !mask.has(about) {
                let first = a.of(about).and(Refinement::of_mask(x, about));
                let second = b.of(about).and(Refinement::of_mask(y, about));
                let always = Refinement::of_mask(Interval::exactly(1.0), about);
                mask = mask.add(
                    about,
                    match op {
                        Logic::And => first.choose(second, always.not()),
                        Logic::Or => first.choose(always, second),
                        Logic::Not => first.not(),
                    },
                );
            }
            i += 1;
        }
        out.refinement = self.note_mask(mask);
        out
    }

    /// The elements of a selection: of `a` where the mask holds, else of `b`.
    pub(crate) const fn select(&self, mask: Holds, a: Holds, b: Holds, dtype: DType) -> Holds {
        // If the mask turns out to be a constant, one of the branches is not taken at all.
        if mask.vague {
            return Holds::vague(dtype);
        }
        let nothing = Holds::of(Interval::NONE);
        let a = if mask.known.high < 1.0 { nothing } else { self.chosen(mask, a, true, dtype) };
        let b = if mask.known.low > 0.0 { nothing } else { self.chosen(mask, b, false, dtype) };
        // Staging may find that both branches are the same value.
        let order = match (a.order, b.order) {
            (Order::Other, Order::Other) => Order::Other,
            _ => Order::Changed,
        };
        Holds { sure: false, order, ..a.hull(b) }
    }

    /// The elements that a selection takes of `x`: where the mask holds, or where it does not.
    const fn chosen(&self, mask: Holds, x: Holds, holds: bool, dtype: DType) -> Holds {
        if x.is_one() {
            return x;
        }
        let mask = match self.mask(mask.refinement) {
            Found::Nothing => return x,
            Found::Lost => return Holds::vague(dtype),
            Found::Some(mask) => mask,
        };
        let mut left = Holds { known: mask.left(x.known, holds), open: mask.left(x.open, holds), ..x };
        match self.sum(x.operands) {
            Found::Nothing => {}
            Found::Lost => return Holds::vague(dtype),
            Found::Some(operands) => {
                let [known, open] = operands.left(&mask, holds).results(dtype);
                // The operation itself has bounded what was open.
                let known = if x.open.is_none() { known.hull(open) } else { known };
                left.known = left.known.and(known);
                left.open = left.open.and(open);
            }
        }
        left
    }
}
