//! Messages of shape rules.

use crate::shape::{Dim, Shape};

/// A message built in constant evaluation, where no allocation is possible.
#[derive(Clone, Copy)]
pub struct Message {
    bytes: [u8; Message::CAPACITY],
    len: usize,
}

impl Message {
    const CAPACITY: usize = 400;

    /// An empty message.
    pub const fn new() -> Message {
        Message { bytes: [0; Message::CAPACITY], len: 0 }
    }

    /// Appends text; what does not fit is left out.
    pub const fn str(mut self, text: &str) -> Message {
        let text = text.as_bytes();
        let mut i = 0;
        while i < text.len() && self.len < Message::CAPACITY {
            self.bytes[self.len] = text[i];
            self.len += 1;
            i += 1;
        }
        self
    }

    /// Appends a number.
    pub const fn num(self, n: isize) -> Message {
        let mut digits = [0u8; 20];
        let mut rest = n.unsigned_abs();
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let sign = if n < 0 { self.str("-") } else { self };
        match std::str::from_utf8(digits.split_at(start).1) {
            Ok(text) => sign.str(text),
            Err(_) => sign,
        }
    }

    /// Appends so many rows.
    pub(crate) const fn rows(self, n: isize) -> Message {
        self.num(n).str(if n == 1 { " row" } else { " rows" })
    }

    /// Appends a dimension: `128`, `B`, `4*B*T`, or `?` where it is unknown.
    pub const fn dim(self, dim: Dim) -> Message {
        if dim.is_unknown() {
            return self.str("?");
        }
        let (size, symbols) = dim.parts();
        if size != 1 || symbols[0] == 0 {
            let message = self.num(size);
            return message.symbols(symbols.as_slice(), true);
        }
        self.symbols(symbols.as_slice(), false)
    }

    const fn symbols(mut self, letters: &[u8], mut star: bool) -> Message {
        let mut i = 0;
        while i < letters.len() && letters[i] != 0 {
            if star {
                self = self.str("*");
            }
            if let Ok(letter) = std::str::from_utf8(std::slice::from_ref(&letters[i])) {
                self = self.str(letter);
            }
            star = true;
            i += 1;
        }
        self
    }

    /// Appends a shape: `[B, T, 128]`.
    pub const fn shape(self, shape: Shape) -> Message {
        self.str("[").dims(shape).str("]")
    }

    pub(crate) const fn dims(mut self, shape: Shape) -> Message {
        let mut i = 0;
        while i < shape.rank() {
            if i > 0 {
                self = self.str(", ");
            }
            self = self.dim(shape.dim(i));
            i += 1;
        }
        self
    }

    /// Appends a field's name to a path: `blocks`, then `blocks.0`, then `blocks.0.up`.
    pub const fn field(self, name: &str) -> Message {
        if self.is_empty() { self.str(name) } else { self.str(".").str(name) }
    }

    /// Appends the number of an element to a path.
    pub const fn index(self, i: usize) -> Message {
        self.str(".").num(i as isize)
    }

    /// The text.
    pub const fn get(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => "",
        }
    }

    /// Whether both are the same text.
    pub const fn same(&self, other: &Message) -> bool {
        let mut i = 0;
        while i < self.len && self.len == other.len {
            if self.bytes[i] != other.bytes[i] {
                return false;
            }
            i += 1;
        }
        self.len == other.len
    }

    /// Whether nothing was written.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Default for Message {
    fn default() -> Self {
        Message::new()
    }
}

impl std::fmt::Display for Dim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Message::new().dim(*self).get())
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Message::new().shape(*self).get())
    }
}
