//! What is shown while a training runs: a bar for the epoch under way and a line for each one done,
//! all on the standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Epoch;

/// How often the loss beside the bar changes.
const REFRESH: Duration = Duration::from_millis(100);

pub(super) struct Progress {
    epochs: u64,
    view: View,
}

enum View {
    Silent,
    /// One line an epoch, where the standard error is a file or a pipe.
    Lines,
    /// A bar that is drawn again and again, with the time of its last text.
    Bar(ProgressBar, Instant),
}

impl Progress {
    /// Progress over epochs up to number `epochs` of `steps` steps each; shown on a terminal, or
    /// when asked for.
    pub(super) fn new(asked: Option<bool>, epochs: u64, steps: usize) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let view = match (asked.unwrap_or(terminal), terminal) {
            (false, _) => View::Silent,
            (true, false) => View::Lines,
            (true, true) => View::Bar(bar(steps), Instant::now()),
        };
        Progress { epochs, view }
    }

    pub(super) fn start(&mut self, epoch: u64) {
        if let View::Bar(bar, _) = &self.view {
            bar.reset();
            bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
        }
    }

    /// After `steps` steps over `samples` samples since `start`, with the mean loss over them.
    pub(super) fn step(&mut self, steps: u64, loss: f64, samples: usize, start: Instant) {
        if let View::Bar(bar, shown) = &mut self.view
            && shown.elapsed() >= REFRESH
        {
            *shown = Instant::now();
            bar.set_position(steps);
            bar.set_message(format!("loss {loss:.4}  {:.0} samples/s", samples as f64 / start.elapsed().as_secs_f64()));
        }
    }

    pub(super) fn end(&mut self, names: &[String], epoch: &Epoch) {
        match &self.view {
            View::Silent => {}
            View::Lines => eprintln!("{}", self.line(names, epoch)),
            View::Bar(bar, _) => bar.println(self.line(names, epoch)),
        }
    }

    fn line(&self, names: &[String], epoch: &Epoch) -> String {
        let mut line = format!("epoch {}/{}  loss {:.4}", epoch.epoch, self.epochs, epoch.train_loss);
        for (name, value) in names.iter().zip(&epoch.train_metrics) {
            line += &format!("  {name} {value:.4}");
        }
        if let Some(loss) = epoch.valid_loss {
            line += &format!("  valid {loss:.4}");
        }
        for (name, value) in names.iter().zip(&epoch.metrics) {
            line += &format!("  {name} {value:.4}");
        }
        line + &format!("  {:.0} samples/s", epoch.samples_per_second)
    }
}

impl Drop for Progress {
    /// The lines stay, the bar goes.
    fn drop(&mut self) {
        if let View::Bar(bar, _) = &self.view {
            bar.finish_and_clear();
        }
    }
}

fn bar(steps: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{prefix}  {bar:24} {pos}/{len}  {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
