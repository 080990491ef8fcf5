//! The surfaces, the rules that walk on them, and the walk.

use downhill::network::{Function, Network};
use downhill::prelude::*;
use downhill::{Error, Input, Result};

/// ½(x² + 100y²): a hundred times as curved from top to bottom as from side to side.
#[network]
fn bowl(x: Tensor, y: Tensor) -> Tensor {
    0.5 * (x * x + 100.0 * y * y)
}

/// (1 − x)² + 100(y − x²)². H. H. Rosenbrock, An automatic method for finding the greatest or least
/// value of a function (1960).
#[network]
fn rosenbrock(x: Tensor, y: Tensor) -> Tensor {
    let off = y - x * x;
    (1.0 - x) * (1.0 - x) + 100.0 * off * off
}

/// (1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)². E. M. L. Beale, On an iterative method
/// for finding a local minimum of a function of more than one variable (1958).
#[network]
fn beale(x: Tensor, y: Tensor) -> Tensor {
    let a = 1.5 - x + x * y;
    let b = 2.25 - x + x * y * y;
    let c = 2.625 - x + x * y * y * y;
    a * a + b * b + c * c
}

/// (x² + y − 11)² + (x + y² − 7)². D. M. Himmelblau, Applied nonlinear programming (1972).
#[network]
fn himmelblau(x: Tensor, y: Tensor) -> Tensor {
    let a = x * x + y - 11.0;
    let b = x + y * y - 7.0;
    a * a + b * b
}

/// The losses here take nothing but the parameters.
const NONE: &[Input] = &[];
const TURN: f32 = std::f32::consts::TAU;

/// 20 + x² − 10 cos 2πx + y² − 10 cos 2πy. L. A. Rastrigin, Systems of extremal control (1974).
#[network]
fn rastrigin(x: Tensor, y: Tensor) -> Tensor {
    20.0 + x * x + y * y - 10.0 * (cos(x * TURN) + cos(y * TURN))
}

/// A network of nothing but two parameters, whose loss is the height of a surface at the point that
/// they are.
macro_rules! networks {
    ($($name:ident $height:ident)*) => {$(
        #[network]
        pub struct $name {
            #[init(zeros)]
            x: Param,
            #[init(zeros)]
            y: Param,
        }

        #[network]
        impl $name {
            pub fn loss(&self) -> Tensor {
                $height(self.x, self.y)
            }

            /// The same at any number of points.
            pub fn heights(&self, x: Tensor<N>, y: Tensor<N>) -> Tensor<N> {
                $height(x, y)
            }
        }

        impl Landscape for $name {
            const LOSS: Function<$name> = $name::loss;
            const HEIGHTS: Function<$name> = $name::heights;

            fn model() -> Model<$name> {
                $name::init(0)
            }
        }
    )*};
}

trait Landscape: Network {
    const LOSS: Function<Self>;
    const HEIGHTS: Function<Self>;

    fn model() -> Model<Self>;
}

networks! {
    Bowl bowl
    Rosenbrock rosenbrock
    Beale beale
    Himmelblau himmelblau
    Rastrigin rastrigin
}

/// From the start of a surface by a rule: the start and where so many steps lead.
type Walk = fn(&Surface, Box<dyn Optimizer>, usize) -> Result<Vec<Point>>;

/// A surface as the page shows it.
pub struct Surface {
    /// The name in PyTorch's numbers that the test compares with.
    pub name: &'static str,
    pub title: &'static str,
    pub formula: &'static str,
    pub minima: &'static [[f32; 2]],
    /// Where every walk starts.
    pub start: [f32; 2],
    /// The part that is seen, from and to: x, y.
    pub view: [[f32; 2]; 2],
    /// The learning rates to choose from.
    pub rates: &'static [f32],
    /// What is special about it.
    pub about: &'static str,
    pub heights: fn(Vec<f32>, Vec<f32>) -> Result<Tensor>,
    pub slope: fn([f32; 2]) -> Result<Slope>,
    pub walk: Walk,
}

/// The loss and its gradient at a point.
pub struct Slope {
    pub loss: f32,
    pub grad: [f32; 2],
}

/// A point of a walk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub x: f32,
    pub y: f32,
    pub loss: f32,
}

const RATES: &[f32] = &[1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

pub const SURFACES: [Surface; 5] = [
    Surface {
        name: "quad_cond100",
        title: "Narrow bowl",
        formula: "½(x² + 100y²)",
        minima: &[[0.0, 0.0]],
        start: [10.0, 1.0],
        view: [[-12.0, 12.0], [-2.25, 2.25]],
        // Plain descent shrinks y by 1 − 100 lr a step: it overshoots above 0.01, and diverges above 0.02.
        rates: &[5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.015, 0.018, 0.0195, 0.0205, 0.03, 0.05, 0.1, 0.3, 1.0],
        about: "The bowl is a hundred times as curved from top to bottom as from side to side (the axes differ in \
                scale, to show it): a rate that is safe for y is slow for x.",
        heights: heights::<Bowl>,
        slope: slope::<Bowl>,
        walk: walk::<Bowl>,
    },
    Surface {
        name: "rosenbrock",
        title: "Rosenbrock",
        formula: "(1 − x)² + 100(y − x²)²",
        minima: &[[1.0, 1.0]],
        start: [-1.5, 2.0],
        view: [[-2.4, 2.4], [-0.9, 2.7]],
        rates: RATES,
        about: "The floor of a steep, bent valley is easily found; along it the slope is next to nothing.",
        heights: heights::<Rosenbrock>,
        slope: slope::<Rosenbrock>,
        walk: walk::<Rosenbrock>,
    },
    Surface {
        name: "beale",
        title: "Beale",
        formula: "(1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)²",
        minima: &[[3.0, 0.5]],
        start: [1.0, 1.5],
        view: [[-1.5, 4.5], [-2.25, 2.25]],
        rates: RATES,
        about: "A flat plain between walls that rise with the sixth power: gradients differ by a factor of thousands.",
        heights: heights::<Beale>,
        slope: slope::<Beale>,
        walk: walk::<Beale>,
    },
    Surface {
        name: "himmelblau",
        title: "Himmelblau",
        formula: "(x² + y − 11)² + (x + y² − 7)²",
        minima: &[[3.0, 2.0], [-2.805_118, 3.131_312], [-3.779_31, -3.283_186], [3.584_428, -1.848_126]],
        start: [0.0, 0.0],
        view: [[-7.0, 7.0], [-5.25, 5.25]],
        rates: RATES,
        about: "Four minima, all equally deep: which one is reached depends on the rule and on the rate.",
        heights: heights::<Himmelblau>,
        slope: slope::<Himmelblau>,
        walk: walk::<Himmelblau>,
    },
    Surface {
        name: "rastrigin",
        title: "Rastrigin",
        formula: "20 + x² − 10 cos 2πx + y² − 10 cos 2πy",
        minima: &[[0.0, 0.0]],
        start: [0.4, -0.3],
        view: [[-2.4, 2.4], [-1.8, 1.8]],
        rates: RATES,
        about: "A dimple at every whole number, the deepest in the middle: a gradient knows only the dimple it is in.",
        heights: heights::<Rastrigin>,
        slope: slope::<Rastrigin>,
        walk: walk::<Rastrigin>,
    },
];

/// An update rule as the page shows it.
pub struct Rule {
    /// As in `rule`.
    pub name: &'static str,
    pub title: &'static str,
    /// What it does: the rest of a sentence that begins with "It".
    pub about: &'static str,
}

pub const RULES: [Rule; 5] = [
    Rule { name: "sgd", title: "Gradient descent", about: "takes the rate times the gradient, every time anew." },
    Rule {
        name: "momentum",
        title: "Momentum",
        about: "keeps nine tenths of the last step: zig-zags cancel, what agrees adds up tenfold.",
    },
    Rule {
        name: "nesterov",
        title: "Nesterov",
        about: "is momentum that looks where it is heading, and so brakes before it is there.",
    },
    Rule {
        name: "rmsprop",
        title: "RMSprop",
        about: "divides each parameter's step by the recent size of its own gradient: steep and flat directions move \
                alike. Its first steps are long, as the average starts at zero.",
    },
    Rule {
        name: "adam",
        title: "Adam",
        about: "has momentum and divides by the gradient's recent size for each parameter by itself: the first step \
                is the rate in x and in y, whatever the slope.",
    },
];

/// A rule by its name.
pub fn rule(name: &str, lr: f32) -> Option<Box<dyn Optimizer>> {
    Some(match name {
        "sgd" => Box::new(Sgd::new(lr)),
        "momentum" => Box::new(Sgd::new(lr).momentum(0.9)),
        "nesterov" => Box::new(Sgd::new(lr).momentum(0.9).nesterov(true)),
        "rmsprop" => Box::new(RmsProp::new(lr)),
        "adam" => Box::new(Adam::new(lr)),
        _ => return None,
    })
}

impl Surface {
    /// The share of the picture's width and height by which a point is off its middle; inside up to ½.
    fn off(&self, point: Point) -> f32 {
        let [[left, right], [bottom, top]] = self.view;
        let x = (point.x - (left + right) / 2.0) / (right - left);
        let y = (point.y - (bottom + top) / 2.0) / (top - bottom);
        x.abs().max(y.abs())
    }

    /// The walk as the page shows it: up to where it is far outside the picture, and the step at which
    /// it left the picture if it went there.
    pub fn seen(&self, mut walk: Vec<Point>) -> (Vec<Point>, Option<usize>) {
        const FAR: f32 = 5.0;
        let lost = |point: &Point| !point.loss.is_finite() || self.off(*point) > FAR;
        let Some(end) = walk.iter().position(lost) else { return (walk, None) };
        walk.truncate(end + 1);
        let inside = walk[..end].iter().rposition(|point| self.off(*point) <= 0.5);
        (walk, Some(inside.map_or(0, |last| last + 1)))
    }
}

fn heights<N: Landscape>(x: Vec<f32>, y: Vec<f32>) -> Result<Tensor> {
    let (x, y) = (Tensor::new([x.len()], x)?, Tensor::new([y.len()], y)?);
    Ok(N::model().call(N::HEIGHTS, (&x, &y))?.remove(0))
}

fn at<N: Landscape>(point: [f32; 2]) -> Result<Model<N>> {
    let mut model = N::model();
    for (name, value) in ["x", "y"].into_iter().zip(point) {
        model.set(name, &Tensor::new([], [value])?)?;
    }
    Ok(model)
}

fn slope<N: Landscape>(point: [f32; 2]) -> Result<Slope> {
    let mut model = at::<N>(point)?;
    let mut step = Step::new(&model, N::LOSS, Sgd::new(0.0))?;
    let loss = step.differentiate(&mut model, NONE)?;
    Ok(Slope { loss, grad: [step.grad("x")?.item()?, step.grad("y")?.item()?] })
}

/// The start and where `steps` steps lead; it ends early at the first point whose loss or gradient is no finite
/// number.
fn walk<N: Landscape>(surface: &Surface, rule: Box<dyn Optimizer>, steps: usize) -> Result<Vec<Point>> {
    let mut model = at::<N>(surface.start)?;
    let mut step = Step::new(&model, N::LOSS, rule)?;
    let mut points = Vec::with_capacity(steps + 1);
    loop {
        let (x, y) = (model.get("x")?.item()?, model.get("y")?.item()?);
        // The last point has a loss too, and no step.
        let loss = if points.len() < steps { step.run(&mut model, NONE) } else { step.differentiate(&mut model, NONE) };
        let loss = match loss {
            Ok(loss) => loss,
            Err(Error::NotFinite { loss, .. }) => loss,
            Err(Error::NotFiniteGrad { .. }) => {
                points.push(Point { x, y, loss: step.differentiate(&mut model, NONE)? });
                return Ok(points);
            }
            Err(error) => return Err(error),
        };
        points.push(Point { x, y, loss });
        if points.len() > steps || !loss.is_finite() {
            return Ok(points);
        }
    }
}
