//! How a piece of a product is cut so that its parts fit registers and caches.
//!
//! A *chunk* is a range of the inner dimension, a *panel* a few vectors of columns, a *tile* a few rows of a panel,
//! whose sums stay in registers for a whole chunk. All of them follow from the sizes and strides alone, and so does the
//! order of additions.

use super::dots;
use super::spec::{SEGMENT, Spec, split};
use crate::ir::Level;

/// Steps along the inner dimension in one iteration of a loop.
pub(crate) const UNROLL: usize = 4;

/// Elements of a chunk of a panel: 32 KiB, a first-level data cache.
const L1_PANEL: usize = 8192;

/// The same for a large matrix, 64 KiB: the second-level cache is fast enough for its panels, and longer chunks add to
/// the result less often.
const L2_PANEL: usize = 16_384;

/// The most steps of a chunk of a panel that is read in place.
const DIRECT_STEPS: usize = 512;

/// Elements of half a page of 4 KiB: two elements so far apart are in different pages more often than not.
const HALF_PAGE: usize = 512;

/// The fewest panels, of two vectors each, for which the left matrix is packed.
const PACKED_PANELS: usize = 8;

/// How a panel is made of the right matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Its rows are read in place.
    Direct,
    /// Its rows are copied.
    Rows,
    /// Its columns are contiguous: the panel is a transposed copy.
    Transposed,
    /// Its columns are contiguous, and read in place, since they are used few times (see `dots`).
    Dots,
    /// Nothing is contiguous: single elements are copied.
    Scattered,
}

/// Panels of one width.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    /// How many there are.
    pub(crate) count: usize,
    pub(crate) columns: usize,
    pub(crate) vectors: usize,
    /// Whether the last vector is a tail, whose lanes are masked.
    pub(crate) masked: bool,
    /// How many tiles there are of how many rows each.
    pub(crate) tiles: Vec<(usize, usize)>,
}

/// How a piece of a product is cut.
#[derive(Clone, Debug)]
pub(crate) struct Blocking {
    /// Elements of a vector.
    pub(crate) lanes: usize,
    pub(crate) packing: Packing,
    /// The rows of a packed tile of the left matrix, if that is packed.
    pub(crate) left: Option<usize>,
    pub(crate) chunks: usize,
    /// The length of all chunks but the last, a multiple of `UNROLL` if there are more than one.
    pub(crate) chunk: usize,
    pub(crate) last: usize,
    /// Whether there is one chunk of more than `SEGMENT` terms, so that sums have totals.
    pub(crate) totals: bool,
    pub(crate) panels: Vec<Panel>,
}

/// The most rows of a tile. Registers hold its sums, a row of the panel and an element of the left matrix, or its sums
/// and four others to transpose them; with AVX2 also the mask.
fn rows(spec: &Spec, vectors: usize, masked: bool) -> usize {
    let mask = (masked && spec.level != Level::Avx512) as usize;
    let others = if spec.strides[2][1] == 1 { 1 + vectors } else { (1 + vectors).max(4) };
    (spec.level.registers() - others - mask) / vectors
}

/// How many times the rows of a product fit a tile, if the right matrix is read by rows; else one.
pub(crate) fn blocks(spec: &Spec) -> usize {
    let vectors = spec.n.div_ceil(spec.level.lanes()).clamp(1, 2);
    match Blocking::new(spec).packing {
        Packing::Direct | Packing::Rows if spec.strides[1][1] == 1 => rows(spec, vectors, true) / spec.m.max(1),
        _ => 1,
    }
}

/// The columns of all panels but the last.
pub(crate) fn width(spec: &Spec) -> usize {
    // Few rows together, in wide panels: rows of the left matrix that are a multiple of 4 KiB apart conflict in a set
    // of the first-level cache, and long runs of a row of a large matrix use each page longer.
    let few = spec.strides[0][0] % 1024 == 0 || spec.large;
    let together = if few && spec.block.is_none() { spec.m.min(6) } else { spec.m };
    // A tile of few rows leaves registers for wider panels.
    let vectors = (2..=8).rev().find(|&v| rows(spec, v, true) >= together).unwrap_or(2);
    vectors * spec.level.lanes()
}

/// Whether the left matrix is packed: if nearly every step of a tile reads another page, and many panels read the
/// matrix.
fn packs_left(spec: &Spec) -> bool {
    let [row, column] = spec.strides[0];
    let far = row == 1 && column.unsigned_abs() >= HALF_PAGE;
    let in_chunks = spec.block.is_none() && spec.strides[2][1] == 1;
    far && in_chunks && spec.large && spec.n >= PACKED_PANELS * 2 * spec.level.lanes()
}

impl Blocking {
    pub(crate) fn new(spec: &Spec) -> Blocking {
        let (lanes, width) = (spec.level.lanes(), width(spec));
        let left = packs_left(spec).then(|| rows(spec, width / lanes, true).min(spec.m));
        let panel = |count: usize, columns: usize| {
            let (vectors, masked) = (columns.div_ceil(lanes), !columns.is_multiple_of(lanes));
            let tiles = split(spec.m, left.unwrap_or_else(|| rows(spec, vectors.max(1), masked)));
            Panel { count, columns, vectors, masked, tiles: tiles.into_iter().filter(|t| t.0 > 0).collect() }
        };
        let panels: Vec<Panel> = [panel(spec.n / width, width), panel(1, spec.n % width)]
            .into_iter()
            .filter(|p| p.count * p.columns > 0)
            .collect();
        debug_assert!(spec.block.is_none() || panels.iter().all(|p| p.tiles == [(1, spec.m)]), "all blocks in a tile");
        let tiles = panels.iter().map(|p| p.tiles.iter().map(|t| t.0).sum()).max().unwrap_or(0);
        let packing = Packing::new(spec, lanes, tiles);
        let whole = !spec.sums.is_empty() || spec.strides[2][1] != 1;
        let longest = if whole {
            spec.k
        } else if packing == Packing::Direct && tiles == 1 {
            DIRECT_STEPS
        } else {
            let elements = if spec.large { L2_PANEL } else { L1_PANEL };
            (elements / width.min(spec.n.next_multiple_of(lanes))).min(SEGMENT)
        };
        let chunks = spec.k.div_ceil(longest.max(UNROLL)).max(1);
        let chunk = if chunks == 1 { spec.k } else { spec.k.div_ceil(chunks).next_multiple_of(UNROLL) };
        // The length was rounded up: fewer chunks may be enough.
        let chunks = spec.k.div_ceil(chunk.max(1)).max(1);
        let terms = if packing == Packing::Dots { dots::terms(spec) } else { spec.terms() };
        let totals = (whole || packing == Packing::Dots) && terms > SEGMENT;
        Blocking { lanes, packing, left, chunks, chunk, last: spec.k - (chunks - 1) * chunk, totals, panels }
    }

    /// The distance of two packed tiles of the left matrix, in elements: a vector more than a tile has. So tiles, which
    /// are packed side by side, do not conflict in the sets of a cache.
    pub(crate) fn tile(&self, rows: usize) -> usize {
        rows * self.chunk.max(self.last) + self.lanes
    }

    /// Roughly how many vector instructions there are.
    pub(crate) fn cost(&self, spec: &Spec) -> usize {
        if self.packing == Packing::Dots {
            return spec.m * spec.n * (dots::terms(spec) + dots::ADD_LANES);
        }
        // Each tile loads a row of its panel at each step.
        let tiles = |p: &Panel| p.tiles.iter().map(|tile| tile.0).sum::<usize>();
        let vectors: usize = self.panels.iter().map(|p| p.count * p.vectors * (spec.m + tiles(p))).sum();
        let apart = if spec.strides[2][1] == 1 { 0 } else { 2 * spec.n * spec.runs(spec.m).len() };
        vectors * spec.terms() + apart
    }

    /// The elements of scratch memory: a packed panel, followed by the packed left matrix.
    pub(crate) fn scratch(&self) -> usize {
        let tiles = self.panels.first().map_or(0, |p| p.tiles.iter().map(|t| t.0).sum());
        self.panel() + self.left.map_or(0, |rows| tiles * self.tile(rows))
    }

    /// The elements of a packed panel.
    pub(crate) fn panel(&self) -> usize {
        if let Packing::Direct | Packing::Dots = self.packing {
            return 0;
        }
        let widest = self.panels.iter().map(|p| p.vectors).max().unwrap_or(0);
        widest * self.lanes * self.chunk.max(self.last)
    }
}

impl Packing {
    fn new(spec: &Spec, lanes: usize, tiles: usize) -> Packing {
        let [row, column] = spec.strides[1];
        // Packing pays if rows are far apart and read often. The bounds are measured: with vectors of 256 bits, where a
        // row of a panel is a single cache line, packing pays sooner.
        let often = if spec.level == Level::Avx512 { 24_000 } else { 8_000 };
        if !spec.sums.is_empty() {
            let fewer = spec.n < spec.k || column != 1;
            return if spec.strides[0][1] == 1 && row == 1 && fewer { Packing::Dots } else { Packing::Direct };
        }
        match (row, column) {
            (_, 1) if tiles * row.unsigned_abs() > often => Packing::Rows,
            (_, 1) => Packing::Direct,
            _ if spec.n == 1 => Packing::Direct,
            (1, _) if dots::suits(spec, lanes) => Packing::Dots,
            (1, _) => Packing::Transposed,
            _ => Packing::Scattered,
        }
    }
}
