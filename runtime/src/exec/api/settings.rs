//! What a step does besides the rule of its optimizer: clipping, groups, frozen parameters.

use super::rules::Rules;
use crate::error::Result;
use crate::exec::Step;
use crate::network::Network;
use crate::optim::{Norm, Optimizer, Params};

impl<N: Network> Step<N> {
    /// Clips the gradient of all parameters together to a norm: it is multiplied by
    /// `max / (norm + 1e-6)` where that is below one, as
    /// [`clip_grad_norm_`](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html)
    /// does it. Frozen parameters do not count. An infinite `max` only measures.
    ///
    /// A gradient with a norm that is no finite number is an error of the run, and nothing is
    /// updated.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`](crate::Error::Setting) unless `max` is above 0.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network(sequential, loss = mse)]
    /// struct Line {
    ///     line: Linear<1, 1>,
    /// }
    ///
    /// let mut model = Line::init(0);
    /// let mut step = Step::new(&model, Line::loss, Sgd::new(0.1))?;
    /// step.clip_norm(1.0)?;
    /// let x = Tensor::new([2, 1], [100.0, 200.0])?;
    /// step.run(&mut model, (&x, &x))?;
    /// assert!(step.grad_norm().unwrap() > 1.0);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn clip_norm(&mut self, max: f32) -> Result<()> {
        self.clip_norm_of(Norm::L2, max)
    }

    /// The same by another norm than the Euclidean one.
    ///
    /// # Errors
    ///
    /// As [`Step::clip_norm`].
    pub fn clip_norm_of(&mut self, norm: Norm, max: f32) -> Result<()> {
        self.change(|rules| rules.clip_norm = Some((norm, max)))
    }

    /// Clips each element of the gradient to the range from `-max` to `max`, as
    /// [`clip_grad_value_`](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_value_.html)
    /// does it; after clipping by the norm, if there is both.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`](crate::Error::Setting) unless `max` is above 0.
    pub fn clip_value(&mut self, max: f32) -> Result<()> {
        self.change(|rules| rules.clip_value = Some(max))
    }

    /// Gives some parameters other settings of the same optimizer. Where groups overlap, the last
    /// one counts. The learning rate of a group stays in proportion to that of the step when
    /// [`Step::set_lr`] or a schedule changes it.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownParam`](crate::Error::UnknownParam) when a pattern fits no parameter;
    /// [`Error::Setting`](crate::Error::Setting) for settings out of their range, a rule that keeps
    /// another state, and a learning rate of the step that is 0 where that of the group is not.
    ///
    /// ```
    /// use downhill::ParamInfo;
    /// use downhill::prelude::*;
    ///
    /// #[network(sequential, loss = mse)]
    /// struct Line {
    ///     norm: LayerNorm<4>,
    ///     line: Linear<4, 1>,
    /// }
    ///
    /// let model = Line::init(0);
    /// let mut step = Step::new(&model, Line::loss, AdamW::new(1e-3).weight_decay(0.1))?;
    /// // No weight decay on biases and on the weights of a norm.
    /// step.group(|p: ParamInfo| p.shape.len() < 2, AdamW::new(1e-3).weight_decay(0.0))?;
    /// assert!(step.group("lines.*", AdamW::new(1e-3)).is_err());
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn group(&mut self, params: impl Params + 'static, optimizer: impl Optimizer + 'static) -> Result<()> {
        self.change(|rules| rules.group(params, optimizer))
    }

    /// Freezes parameters: their gradient is not computed, and they stay as they are, with the
    /// state of the optimizer.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownParam`](crate::Error::UnknownParam) when a pattern fits no parameter,
    /// [`Error::Setting`](crate::Error::Setting) when all parameters would be frozen.
    ///
    /// ```
    /// use downhill::prelude::*;
    ///
    /// #[network(sequential, loss = mse)]
    /// struct Net {
    ///     body: Linear<1, 4>,
    ///     head: Linear<4, 1>,
    /// }
    ///
    /// let mut model = Net::init(0);
    /// let body = model.get("body.weight")?;
    /// let mut step = Step::new(&model, Net::loss, Sgd::new(0.1))?;
    /// step.freeze("body.*")?;
    /// let x = Tensor::new([2, 1], [1.0, 2.0])?;
    /// step.run(&mut model, (&x, &x))?;
    /// assert_eq!(model.get("body.weight")?, body);
    /// step.unfreeze("body.*")?;
    /// step.run(&mut model, (&x, &x))?;
    /// assert_ne!(model.get("body.weight")?, body);
    /// # Ok::<(), downhill::Error>(())
    /// ```
    pub fn freeze(&mut self, params: impl Params + 'static) -> Result<()> {
        self.change(|rules| rules.freeze(params, true))
    }

    /// Trains parameters again that were frozen.
    ///
    /// # Errors
    ///
    /// As [`Step::freeze`].
    pub fn unfreeze(&mut self, params: impl Params + 'static) -> Result<()> {
        self.change(|rules| rules.freeze(params, false))
    }

    /// Changes the rules; where the new ones are refused, the old ones stay.
    fn change(&mut self, change: impl FnOnce(&mut Rules)) -> Result<()> {
        let mut rules = self.update.rules.clone();
        change(&mut rules);
        self.set_rules(rules)
    }
}
