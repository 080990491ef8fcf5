//! The equation of an `einsum`, read in constant evaluation and again when it is staged.

use crate::shape::check::{Check, Message, TensorType};
use crate::shape::{Dim, MAX_RANK, Shape};

/// The labels of a tensor's axes: letters, and for those that `...` stands for digits, which count from the
/// last axis of them.
#[derive(Clone, Copy)]
pub(super) struct Term {
    labels: [u8; MAX_RANK],
    len: usize,
}

impl Term {
    const NONE: Term = Term { labels: [0; MAX_RANK], len: 0 };

    pub(super) const fn get(&self) -> &[u8] {
        self.labels.split_at(self.len).0
    }

    const fn count(&self, label: u8) -> usize {
        let (mut i, mut count) = (0, 0);
        while i < self.len {
            count += (self.labels[i] == label) as usize;
            i += 1;
        }
        count
    }

    #[track_caller]
    const fn push(&mut self, cx: &mut Check, label: u8) -> bool {
        if self.len == MAX_RANK {
            cx.error(Message::new().str("einsum: a tensor has at most 8 axes"));
            return false;
        }
        self.labels[self.len] = label;
        self.len += 1;
        true
    }
}

/// A term as it is written: where `...` stands among its letters.
#[derive(Clone, Copy)]
struct Written {
    letters: Term,
    dots: Option<usize>,
}

/// An equation for tensors of known numbers of axes.
pub(super) struct Equation<const N: usize> {
    pub(super) terms: [Term; N],
    pub(super) out: Term,
}

/// The letters up to `,`, `->` or the end, and where these stand.
#[track_caller]
const fn read(cx: &mut Check, text: &[u8], mut at: usize) -> Option<(Written, usize)> {
    let mut term = Written { letters: Term::NONE, dots: None };
    while at < text.len() && text[at] != b',' && text[at] != b'-' {
        match text[at] {
            b' ' => {}
            b'.' => {
                let whole = at + 2 < text.len() && text[at + 1] == b'.' && text[at + 2] == b'.';
                if !whole || term.dots.is_some() {
                    cx.error(Message::new().str("einsum: expected three dots, once for a tensor"));
                    return None;
                }
                term.dots = Some(term.letters.len);
                at += 2;
            }
            letter if letter.is_ascii_alphabetic() => {
                if !term.letters.push(cx, letter) {
                    return None;
                }
            }
            _ => {
                cx.error(Message::new().str("einsum: an equation is made of letters, `,`, `->` and `...`"));
                return None;
            }
        }
        at += 1;
    }
    Some((term, at))
}

/// The labels of a written term with `open` axes in place of its dots.
#[track_caller]
const fn labels(cx: &mut Check, written: &Written, open: usize) -> Option<Term> {
    let mut term = Term::NONE;
    let mut i = 0;
    while i <= written.letters.len {
        if matches!(written.dots, Some(dots) if dots == i) {
            let mut rest = open;
            while rest > 0 {
                rest -= 1;
                if !term.push(cx, b'0' + rest as u8) {
                    return None;
                }
            }
        }
        if i < written.letters.len && !term.push(cx, written.letters.labels[i]) {
            return None;
        }
        i += 1;
    }
    Some(term)
}

impl<const N: usize> Equation<N> {
    /// Reads an equation for tensors of these types.
    #[track_caller]
    pub(super) const fn parse(cx: &mut Check, equation: &str, types: &[TensorType; N]) -> Option<Equation<N>> {
        let text = equation.as_bytes();
        let mut terms = [Term::NONE; N];
        let (mut at, mut count, mut open) = (0, 0, 0);
        loop {
            let Some((written, end)) = read(cx, text, at) else { return None };
            if count < N {
                let rank = types[count].shape.rank();
                let named = written.letters.len;
                if rank < named || written.dots.is_none() && rank != named {
                    let message = Message::new().str("einsum: the equation names ").num(named as isize);
                    cx.error(message.str(" axes of ").shape(types[count].shape));
                    return None;
                }
                if written.dots.is_some() && rank - named > open {
                    open = rank - named;
                }
                let Some(term) = labels(cx, &written, rank - named) else { return None };
                terms[count] = term;
            }
            count += 1;
            at = end;
            if at == text.len() || text[at] == b'-' {
                break;
            }
            at += 1;
        }
        if count != N {
            let message = Message::new().str("einsum: the equation has ").num(count as isize).str(" tensors, ");
            cx.error(message.num(N as isize).str(" are given"));
            return None;
        }
        let out = if at == text.len() {
            implied(cx, &terms, open)
        } else {
            let arrow = at + 1 < text.len() && text[at + 1] == b'>';
            let written = if arrow { read(cx, text, at + 2) } else { None };
            match written {
                Some((written, end)) if end == text.len() => labels(cx, &written, open),
                // What the result itself is reported for stands already.
                None if arrow => None,
                _ => {
                    cx.error(Message::new().str("einsum: expected one result behind `->`"));
                    None
                }
            }
        };
        match out {
            Some(out) => Some(Equation { terms, out }),
            None => None,
        }
    }

    /// The size of every label, and the shape of the result. An axis of size one is stretched.
    #[track_caller]
    pub(super) const fn shape(&self, cx: &mut Check, types: &[TensorType; N]) -> Option<Shape> {
        let mut sizes: [Option<Dim>; 128] = [None; 128];
        let (mut operand, mut distinct) = (0, 0);
        while operand < N {
            let (term, shape) = (&self.terms[operand], types[operand].shape);
            let mut i = 0;
            while i < term.len {
                let (label, dim) = (term.labels[i], shape.dim(i));
                let mut earlier = 0;
                while earlier < i {
                    if term.labels[earlier] == label && !shape.dim(earlier).same(dim) {
                        mismatch(cx, label, shape.dim(earlier), dim);
                        return None;
                    }
                    earlier += 1;
                }
                let merged = match sizes[label as usize] {
                    None => {
                        distinct += 1;
                        dim
                    }
                    Some(known) if known.is_one() || known.is_unknown() => dim,
                    Some(known) if dim.is_one() || known.same(dim) => known,
                    Some(known) => {
                        mismatch(cx, label, known, dim);
                        return None;
                    }
                };
                sizes[label as usize] = Some(merged);
                i += 1;
            }
            operand += 1;
        }
        if N > 2 && distinct > MAX_RANK {
            cx.error(Message::new().str("einsum: more than two tensors have at most 8 letters together"));
            return None;
        }
        let mut shape = Shape::SCALAR;
        let mut i = 0;
        while i < self.out.len {
            let label = self.out.labels[i];
            if self.out.count(label) > 1 {
                cx.error(name(Message::new().str("einsum: "), label).str(" stands twice in the result"));
                return None;
            }
            match sizes[label as usize] {
                Some(dim) => shape = shape.push(dim),
                None => {
                    cx.error(name(Message::new().str("einsum: "), label).str(" of the result is in no tensor"));
                    return None;
                }
            }
            i += 1;
        }
        Some(shape)
    }
}

/// The result of an equation without `->`: what `...` stands for, then every letter that comes once, in
/// alphabetical order.
#[track_caller]
const fn implied<const N: usize>(cx: &mut Check, terms: &[Term; N], open: usize) -> Option<Term> {
    let Some(mut out) = labels(cx, &Written { letters: Term::NONE, dots: Some(0) }, open) else { return None };
    let mut label = b'A';
    while label <= b'z' {
        let (mut i, mut count) = (0, 0);
        while i < N {
            count += terms[i].count(label);
            i += 1;
        }
        if count == 1 && !out.push(cx, label) {
            return None;
        }
        label += 1;
    }
    Some(out)
}

const fn name(message: Message, label: u8) -> Message {
    match std::str::from_utf8(std::slice::from_ref(&label)) {
        Ok(letter) if label.is_ascii_alphabetic() => message.str("`").str(letter).str("`"),
        _ => message.str("an axis of `...`"),
    }
}

#[track_caller]
const fn mismatch(cx: &mut Check, label: u8, a: Dim, b: Dim) {
    let message = name(Message::new().str("einsum: "), label).str(" is ").dim(a);
    cx.error(message.str(" in one place and ").dim(b).str(" in another"));
}
