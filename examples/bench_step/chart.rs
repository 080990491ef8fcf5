//! A picture of the lines that several programs printed: how many times longer than this library's each
//! one's step takes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use plotters::prelude::*;
use serde_json::Value;

use crate::models::NAMES;

/// Colours of bars, one a program.
const COLOURS: [RGBColor; 10] = [
    RGBColor(0x4e, 0x79, 0xa7),
    RGBColor(0xf2, 0x8e, 0x2b),
    RGBColor(0xe1, 0x57, 0x59),
    RGBColor(0x76, 0xb7, 0xb2),
    RGBColor(0x59, 0xa1, 0x4f),
    RGBColor(0xed, 0xc9, 0x48),
    RGBColor(0xb0, 0x7a, 0xa1),
    RGBColor(0x9c, 0x75, 0x5f),
    RGBColor(0xff, 0x9d, 0xa7),
    RGBColor(0xba, 0xb0, 0xac),
];

/// Draws the lines of a file for a number of threads: the lowest median of each program and workload,
/// divided by that of `peer`.
pub fn draw(lines: &Path, picture: &Path, peer: &str, threads: u16) -> Result<()> {
    let text = fs::read_to_string(lines).with_context(|| lines.display().to_string())?;
    let mut medians: BTreeMap<(String, String), f64> = BTreeMap::new();
    for (i, line) in text.lines().enumerate() {
        let line: Value = serde_json::from_str(line).with_context(|| format!("{}, line {}", lines.display(), i + 1))?;
        let (Some(name), Some(workload), Some(median)) =
            (line["peer"].as_str(), line["workload"].as_str(), line["step_us_median"].as_f64())
        else {
            continue; // A limit of the machine, or a program that cannot do a workload.
        };
        if line["threads"].as_u64() == Some(threads.into()) {
            let lowest = medians.entry((workload.into(), name.into())).or_insert(f64::INFINITY);
            *lowest = lowest.min(median);
        }
    }
    let ratios = |workload: &str| -> Vec<(String, f64)> {
        let Some(own) = medians.get(&(workload.to_owned(), peer.to_owned())) else { return vec![] };
        let others = medians.iter().filter(|((of, name), _)| of == workload && name != peer);
        others.map(|((_, name), median)| (name.clone(), median / own)).collect()
    };
    let groups: Vec<_> = NAMES.iter().map(|&name| (name, ratios(name))).filter(|group| !group.1.is_empty()).collect();
    let mut names: Vec<&String> = groups.iter().flat_map(|(_, bars)| bars.iter().map(|(name, _)| name)).collect();
    names.sort();
    names.dedup();
    ensure!(!groups.is_empty(), "{}: no workload of {peer} on {threads} threads beside others", lines.display());
    if names.len() > COLOURS.len() {
        bail!("{}: {} programs beside {peer}, expected at most {}", lines.display(), names.len(), COLOURS.len());
    }
    let most = groups.iter().flat_map(|(_, bars)| bars.iter().map(|(_, ratio)| *ratio)).fold(2.0, f64::max);
    let least = groups.iter().flat_map(|(_, bars)| bars.iter().map(|(_, ratio)| *ratio)).fold(0.9, f64::min);

    let root = SVGBackend::new(picture, (1000, 460)).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!("Time of a training step over that of {peer}, {threads} thread(s); above 1 is slower");
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(48)
        .build_cartesian_2d(0f64..groups.len() as f64, (least * 0.9..most * 1.2).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(0)
        .y_label_formatter(&|ratio| format!("{ratio}x"))
        .draw()?;
    let width = 0.9 / names.len() as f64;
    for (colour, name) in COLOURS.into_iter().zip(&names) {
        let bars = groups.iter().enumerate().flat_map(|(group, (_, bars))| {
            let place = bars.iter().position(|(bar, _)| bar == *name);
            place.map(|place| {
                let from = group as f64 + 0.05 + place as f64 * width;
                Rectangle::new([(from, 1.0), (from + 0.9 * width, bars[place].1)], colour.filled())
            })
        });
        chart
            .draw_series(bars)?
            .label(name.as_str())
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
    }
    chart.draw_series([PathElement::new([(0.0, 1.0), (groups.len() as f64, 1.0)], BLACK)])?;
    let font = ("sans-serif", 14).into_font().color(&BLACK);
    let labels = groups
        .iter()
        .enumerate()
        .map(|(group, (name, _))| Text::new(name.to_string(), (group as f64 + 0.05, least * 0.9), font.clone()));
    for label in labels {
        chart.plotting_area().draw(&label)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::Coordinate(140, 10))
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 14))
        .draw()?;
    root.present()?;
    Ok(())
}
