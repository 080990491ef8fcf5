//! Products as functions of machine code, `fn(a, b, c, scratch)`.
//!
//! Counted loops over chunks, panels and tiles (see `ir::product::blocking`) surround a tile. Each step along the inner
//! dimension loads a row of the panel as vectors, and broadcasts the element of each row of the left matrix. So the
//! left matrix may have any strides, and is packed only where that saves more time than it takes.

use iced_x86::IcedError;
use iced_x86::code_asm::registers::*;

use super::emitter::{
    A, A_TILE, B, B_FROM, C, C_PANEL, C_TILE, CHUNKS, PANEL, PANELS, ProductEmitter, SCRATCH_MEMORY, TILES,
};
use crate::codegen::x86::asm::Emit;
use crate::error::Error;
use crate::ir::product::Spec;
use crate::ir::product::blocking::{Packing, Panel};

/// The machine code of a product.
pub(super) fn machine_code(spec: &Spec) -> Result<Vec<u8>, Error> {
    let refused = |error: IcedError| Error::Compile {
        what: format!("a product of {} x {} x {}", spec.m, spec.k, spec.n),
        message: error.to_string(),
    };
    let emit = || {
        let mut emitter = ProductEmitter::new(spec)?;
        emitter.function()?;
        emitter.asm.code.assemble(0)
    };
    emit().map_err(refused)
}

impl ProductEmitter<'_> {
    fn function(&mut self) -> Emit {
        self.asm.save_registers()?;
        let dots = self.blocking.packing == Packing::Dots;
        self.start_totals()?;
        self.start_check()?;
        if dots {
            self.dots()?;
        } else {
            self.chunks()?;
        }
        self.end_check()?;
        self.end_totals()?;
        self.asm.restore_registers()?;
        self.asm.code.vzeroupper()?;
        self.asm.code.ret()?;
        self.tail_data(if dots { self.spec.k } else { self.spec.n } % self.asm.lanes())
    }

    /// All chunks of the inner dimension.
    fn chunks(&mut self) -> Emit {
        let blocking = self.blocking.clone();
        // `set_iterations` writes to this slot.
        self.asm.code.push(CHUNKS)?;
        if blocking.packing == Packing::Transposed {
            self.asm.set_quarter_masks(r10d)?;
        }
        let [[_, a_column], [b_row, _], _] = self.spec.strides.map(|s| s.map(|s| 4 * s as i64));
        let chunk = blocking.chunk as i64;
        self.repeat(CHUNKS, blocking.chunks, &[(A, chunk * a_column), (B, chunk * b_row)], |e| {
            e.set_iterations()?;
            e.pack_left()?;
            e.asm.code.mov(B_FROM, B)?;
            e.asm.code.mov(C_PANEL, C)?;
            blocking.panels.iter().try_for_each(|panel| e.panels(panel))
        })?;
        self.asm.code.pop(CHUNKS)
    }

    /// All panels of one width.
    fn panels(&mut self, panel: &Panel) -> Emit {
        let [_, [_, b_column], [_, c_column]] = self.spec.strides.map(|s| s.map(|s| 4 * s as i64));
        let columns = panel.columns as i64;
        if panel.masked {
            self.set_tail(panel.columns % self.asm.lanes())?;
        }
        self.repeat(PANELS, panel.count, &[(B_FROM, columns * b_column), (C_PANEL, columns * c_column)], |e| {
            e.pack(panel)?;
            e.asm.code.mov(PANEL, if e.blocking.packing == Packing::Direct { B_FROM } else { SCRATCH_MEMORY })?;
            match e.blocking.left {
                Some(_) => e.asm.code.lea(A_TILE, SCRATCH_MEMORY + 4 * e.blocking.panel() as i64)?,
                None => e.asm.code.mov(A_TILE, A)?,
            }
            e.asm.code.mov(C_TILE, C_PANEL)?;
            for &(count, rows) in &panel.tiles {
                let [a, c] = e.spec.row(rows).map(|s| 4 * s as i64);
                let a = e.blocking.left.map_or(a, |rows| 4 * e.blocking.tile(rows) as i64);
                let moves = [(A_TILE, a), (C_TILE, c)];
                e.repeat(TILES, count, &moves, |e| e.tile(panel, (count, rows)))?;
            }
            Ok(())
        })
    }
}
