//! The page: everything that the library computed, inside a template.

use downhill::{Result, Tensor};
use serde_json::{Value as Json, json};

use super::surfaces::{Point, RULES, Rule, SURFACES, Surface, rule};

/// Steps of a walk.
pub const STEPS: usize = 300;
/// Points of the grid for the contours: along x and along y.
const GRID: [usize; 2] = [161, 121];

const TEMPLATE: &str = include_str!("page.html");

/// The whole page as HTML, with no reference to anything outside.
pub fn page() -> Result<String> {
    let surfaces = SURFACES.iter().map(surface).collect::<Result<Vec<_>>>()?;
    let rules = RULES.map(|rule| json!({ "name": rule.name, "title": rule.title, "about": rule.about }));
    let data = json!({ "steps": STEPS, "rules": rules, "surfaces": surfaces });
    // `</` would end the script element that holds the data.
    Ok(TEMPLATE.replace("{{data}}", &data.to_string().replace("</", "<\\/")))
}

fn surface(surface: &Surface) -> Result<Json> {
    let mut walks = serde_json::Map::new();
    for Rule { name, .. } in RULES {
        let all = surface.rates.iter().filter_map(|&lr| rule(name, lr));
        let all = all.map(|rule| Ok(surface.seen((surface.walk)(surface, rule, STEPS)?)));
        let all =
            all.map(|seen: Result<_>| seen.map(|(points, left)| json!({ "left": left, "points": packed(&points) })));
        walks.insert(name.into(), all.collect::<Result<Vec<_>>>()?.into());
    }
    let grid = grid(surface)?;
    Ok(json!({
        "name": surface.name,
        "title": surface.title,
        "formula": surface.formula,
        "about": surface.about,
        "minima": surface.minima,
        "view": surface.view,
        // Through f32's own text: 0.1 rather than its nearest number in double precision.
        "rates": surface.rates.iter().map(f32::to_string).collect::<Vec<_>>(),
        "grid": { "size": GRID, "heights": base64(grid.data().iter().copied()) },
        "walks": walks,
    }))
}

/// The heights on a grid over the view, row by row from the bottom.
fn grid(surface: &Surface) -> Result<Tensor> {
    let along = |axis: usize, i: usize| {
        let [from, to] = surface.view[axis];
        from + (to - from) * i as f32 / (GRID[axis] - 1) as f32
    };
    let points = (0..GRID[1]).flat_map(|row| (0..GRID[0]).map(move |column| (along(0, column), along(1, row))));
    let (x, y) = points.unzip();
    (surface.heights)(x, y)
}

fn packed(points: &[Point]) -> String {
    base64(points.iter().flat_map(|point| [point.x, point.y, point.loss]))
}

/// The numbers' bytes, lowest first, as base64.
fn base64(numbers: impl Iterator<Item = f32>) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= chunk.len() { digit.into() } else { '=' });
        }
    }
    text
}
