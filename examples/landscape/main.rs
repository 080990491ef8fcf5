//! Gradient descent as one first meets it: a ball on a loss surface of two parameters.
//!
//! ```text
//! cargo run --release --example landscape
//! cargo run --release --example landscape -- --out landscape.html
//! ```
//!
//! It writes a page, `target/landscape.html` unless told otherwise, that any browser shows without a
//! network: five surfaces with their contour lines, five update rules, a slider for the learning
//! rate, and buttons that take one step or play them all. One sees the crawl of a small rate, the
//! zig-zag of a large one and how it blows up, and what changes when every parameter has a step size
//! of its own, as with Adam.
//!
//! Every surface is a network of two parameters (`surfaces.rs`); heights, gradients and walks are
//! computed by this library and embedded in the page (`page.rs`, `page.html`), which only draws them.

mod page;
mod surfaces;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;

use surfaces::Slope;

/// Draws gradient descent on surfaces of two parameters.
#[derive(Parser)]
struct Args {
    /// The page to write.
    #[arg(long, default_value = "target/landscape.html")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let page = page::page()?;
    if let Some(folder) = args.out.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::write(&args.out, &page).with_context(|| args.out.display().to_string())?;
    for surface in &surfaces::SURFACES {
        let Slope { loss, grad: [x, y] } = (surface.slope)(surface.start)?;
        println!("{:<12} starts at {:?}: loss {loss}, gradient [{x}, {y}]", surface.title, surface.start);
    }
    println!("{}: {:.1} MB, open it in a browser", args.out.display(), page.len() as f64 / 1e6);
    Ok(())
}
