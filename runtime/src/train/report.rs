//! What a training did, epoch by epoch.

use std::fmt;

/// What [`Trainer::fit`](super::Trainer::fit) did: one entry for each epoch. Shown as a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The names of the metrics, in the order of [`Epoch::metrics`]: those that the loss function returns
    /// behind the loss, then those of the trainer.
    pub metrics: Vec<String>,
    /// The epochs, in order.
    pub epochs: Vec<Epoch>,
}

/// One pass over the training data, and the validation after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Epoch {
    /// The number of the epoch, from one, over all calls of `fit`.
    pub epoch: u64,
    /// The mean loss over the samples trained on, each with the parameters of its step. Like all means here it is over
    /// what counts in the loss, see [`Step::weight`](crate::Step::weight).
    pub train_loss: f32,
    /// The mean loss over the validation samples; `None` without any.
    pub valid_loss: Option<f32>,
    /// The means over the samples trained on of the single numbers that the loss function returns behind the
    /// loss, such as an accuracy. They are the first of the metrics.
    pub train_metrics: Vec<f32>,
    /// The means of the metrics over the validation samples; empty without any.
    pub metrics: Vec<f32>,
    /// Samples trained on in a second; validation is not counted.
    pub samples_per_second: f64,
    /// Seconds of the epoch, validation counted.
    pub seconds: f64,
}

impl Report {
    /// The last epoch, if there was one.
    pub fn last(&self) -> Option<&Epoch> {
        self.epochs.last()
    }

    /// A metric of the validation data after the last epoch, by its name.
    pub fn metric(&self, name: &str) -> Option<f32> {
        let i = self.metrics.iter().position(|metric| metric == name)?;
        self.last()?.metrics.get(i).copied()
    }

    /// Seconds of all epochs.
    pub fn seconds(&self) -> f64 {
        self.epochs.iter().map(|epoch| epoch.seconds).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["epoch", "train loss", "valid loss"];
        let trained = self.epochs.first().map_or(0, |epoch| epoch.train_metrics.len());
        let of_training = self.metrics.iter().take(trained).map(|name| format!("train {name}"));
        let of_validation = self.metrics.iter().enumerate();
        let of_validation =
            of_validation.map(|(i, name)| if i < trained { format!("valid {name}") } else { name.clone() });
        let names = names.into_iter().map(str::to_owned).chain(of_training).chain(of_validation);
        let mut rows = vec![names.chain(["samples/s".into(), "seconds".into()]).collect::<Vec<String>>()];
        rows.extend(self.epochs.iter().map(|epoch| epoch.cells(self.metrics.len())));
        let widths: Vec<usize> =
            (0..rows[0].len()).map(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0)).collect();
        for (i, row) in rows.iter().enumerate() {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:>width$}")).collect();
            let end = if i + 1 == rows.len() { "" } else { "\n" };
            write!(f, "{}{end}", cells.join("  "))?;
        }
        Ok(())
    }
}

impl Epoch {
    /// The cells of the table, with room for `metrics`.
    fn cells(&self, metrics: usize) -> Vec<String> {
        let number = |x: Option<f32>| x.map_or("-".into(), |x| format!("{x:.4}"));
        let mut cells = vec![self.epoch.to_string(), number(Some(self.train_loss)), number(self.valid_loss)];
        cells.extend(self.train_metrics.iter().map(|&x| number(Some(x))));
        cells.extend((0..metrics).map(|i| number(self.metrics.get(i).copied())));
        cells.push(format!("{:.0}", self.samples_per_second));
        cells.push(format!("{:.3}", self.seconds));
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table() {
        let epoch = Epoch {
            epoch: 1,
            train_loss: 0.512_34,
            valid_loss: Some(0.4),
            train_metrics: vec![],
            metrics: vec![0.95],
            samples_per_second: 123_456.7,
            seconds: 0.5,
        };
        let without = Epoch { epoch: 10, valid_loss: None, metrics: vec![], ..epoch.clone() };
        let report = Report { metrics: vec!["accuracy".into()], epochs: vec![epoch, without] };
        let expected = "\
epoch  train loss  valid loss  accuracy  samples/s  seconds
    1      0.5123      0.4000    0.9500     123457    0.500
   10      0.5123           -         -     123457    0.500";
        assert_eq!(report.to_string(), expected);
        assert_eq!(report.metric("accuracy"), None);
        assert_eq!(report.seconds(), 1.0);
        assert!(Report::default().last().is_none());
    }

    #[test]
    fn metrics_of_training_have_columns_of_their_own() {
        let epoch = Epoch {
            epoch: 1,
            train_loss: 0.5,
            valid_loss: Some(0.4),
            train_metrics: vec![0.75],
            metrics: vec![0.875, 2.0],
            samples_per_second: 100.0,
            seconds: 0.5,
        };
        let report = Report { metrics: vec!["accuracy".into(), "error".into()], epochs: vec![epoch] };
        let expected = "\
epoch  train loss  valid loss  train accuracy  valid accuracy   error  samples/s  seconds
    1      0.5000      0.4000          0.7500          0.8750  2.0000        100    0.500";
        assert_eq!(report.to_string(), expected);
        assert_eq!(report.metric("accuracy"), Some(0.875));
    }
}
