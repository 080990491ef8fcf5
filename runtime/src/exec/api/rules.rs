//! How the parameters of a model are trained: by which rule each, and what is done to the gradient
//! before.

use std::sync::Arc;

use super::model::{Entry, find, params};
use crate::error::{Error, Result};
use crate::network::ParamInfo;
use crate::optim::{Norm, Optimizer, Params, not_negative};

/// The settings of a training step.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) optimizer: Arc<dyn Optimizer>,
    /// Parameters with an optimizer of their own; of several groups, the last one counts.
    pub(crate) groups: Vec<(Arc<dyn Params>, Arc<dyn Optimizer>)>,
    /// Parameters that are frozen, or no longer; the last word counts.
    pub(crate) frozen: Vec<(Arc<dyn Params>, bool)>,
    pub(crate) clip_norm: Option<(Norm, f32)>,
    pub(crate) clip_value: Option<f32>,
}

impl Rules {
    pub(crate) fn new(optimizer: Arc<dyn Optimizer>) -> Rules {
        Rules { optimizer, groups: vec![], frozen: vec![], clip_norm: None, clip_value: None }
    }

    pub(crate) fn group(&mut self, params: impl Params + 'static, optimizer: impl Optimizer + 'static) {
        self.groups.push((Arc::new(params), Arc::new(optimizer)));
    }

    pub(crate) fn freeze(&mut self, params: impl Params + 'static, frozen: bool) {
        self.frozen.push((Arc::new(params), frozen));
    }

    /// The optimizers: that of the step, then those of the groups.
    pub(crate) fn optimizers(&self) -> impl Iterator<Item = &dyn Optimizer> {
        std::iter::once(&*self.optimizer).chain(self.groups.iter().map(|(_, optimizer)| &**optimizer))
    }

    /// The learning rate of an optimizer when that of the step is `lr`.
    pub(crate) fn lr(&self, optimizer: &dyn Optimizer, lr: f32) -> f32 {
        let (own, base) = (optimizer.lr(), self.optimizer.lr());
        if own == base { lr } else { (f64::from(lr) * f64::from(own) / f64::from(base)) as f32 }
    }

    /// Refuses a learning rate of the step by which one of the rates is no finite number of at least zero.
    pub(crate) fn check_lr(&self, lr: f32) -> Result<()> {
        not_negative("lr", lr)?;
        self.optimizers().try_for_each(|optimizer| not_negative("lr", self.lr(optimizer, lr)))
    }

    /// The number of each parameter's optimizer; `None` where it is frozen, and for states.
    pub(crate) fn assign(&self, entries: &[Entry]) -> Result<Vec<Option<usize>>> {
        let all = self.groups.iter().map(|(params, _)| params).chain(self.frozen.iter().map(|(params, _)| params));
        let trained = params(entries);
        for params in all {
            if let Some(pattern) = params.pattern()
                && !trained.clone().any(|entry| params.hold(info(entry)))
            {
                find(trained.clone(), pattern)?;
            }
        }
        let assign = |entry: &Entry| {
            let frozen = self.frozen.iter().rfind(|(params, _)| params.hold(info(entry))).is_some_and(|(_, f)| *f);
            let group = self.groups.iter().rposition(|(params, _)| params.hold(info(entry)));
            (!frozen && !entry.state).then(|| group.map_or(0, |group| group + 1))
        };
        Ok(entries.iter().map(assign).collect())
    }

    /// Refuses settings outside their range.
    pub(crate) fn check(&self) -> Result<()> {
        let refused = |setting, expected, found: String| Err(Error::Setting { setting, expected, found });
        for optimizer in self.optimizers() {
            optimizer.check()?;
            not_negative("lr", optimizer.lr())?;
            if optimizer.state() != self.optimizer.state() {
                let found = format!("{:?}, not {:?}", optimizer.state(), self.optimizer.state());
                return refused("group", "a rule with the same state as that of the step", found);
            }
            if self.optimizer.lr() == 0.0 && optimizer.lr() != 0.0 {
                return refused("lr", "above 0, since a group has a rate in proportion to it", "0".into());
            }
        }
        let clips = [("clip_norm", self.clip_norm.map(|(_, max)| max)), ("clip_value", self.clip_value)];
        for (setting, max) in clips {
            if let Some(max) = max.filter(|max| max.is_nan() || *max <= 0.0) {
                return refused(setting, "a number above 0", max.to_string());
            }
        }
        Ok(())
    }
}

fn info(entry: &Entry) -> ParamInfo<'_> {
    ParamInfo { name: &entry.name, shape: &entry.shape }
}
