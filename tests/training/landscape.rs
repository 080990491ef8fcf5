//! The example `landscape`: its surfaces and walks against numbers that PyTorch computed in double
//! precision, and its page in a browser against the library's own numbers.
#![deny(warnings)]

mod browser;
#[path = "../../examples/landscape/page.rs"]
mod page;
#[path = "../../examples/landscape/surfaces.rs"]
mod surfaces;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;

use browser::Browser;
use page::STEPS;
use surfaces::{Point, RULES, Rule, SURFACES, Slope, Surface, rule};

fn golden() -> Json {
    serde_json::from_str(include_str!("../golden/testfunctions.json")).unwrap()
}

fn numbers<const N: usize>(json: &Json) -> [f64; N] {
    std::array::from_fn(|i| json[i].as_f64().unwrap())
}

#[test]
fn values_gradients_and_minima() -> Result<()> {
    let golden = golden();
    for surface in &SURFACES {
        let expected = &golden["functions"][surface.name];
        assert_eq!(surface.start.map(f64::from), numbers::<2>(&expected["start"]).map(|v| f64::from(v as f32)));
        for point in expected["points"].as_array().unwrap() {
            let at = numbers::<2>(&point["x"]).map(|v| v as f32);
            let Slope { loss, grad } = (surface.slope)(at)?;
            let height = (surface.heights)(vec![at[0]], vec![at[1]])?.item()?;
            let [dx, dy] = numbers(&point["grad"]);
            let f = point["f"].as_f64().unwrap();
            for (found, expected) in [(loss, f), (height, f), (grad[0], dx), (grad[1], dy)] {
                let off = (f64::from(found) - expected).abs();
                assert!(off <= 1e-5 * (1.0 + expected.abs()), "{} at {at:?}: {found}, not {expected}", surface.name);
            }
        }
        let minima = expected["minima"].as_array().unwrap();
        assert_eq!(surface.minima.len(), minima.len());
        for (found, expected) in surface.minima.iter().zip(minima) {
            assert_eq!(*found, numbers::<2>(expected).map(|v| v as f32));
            // They are given to six places.
            let Slope { loss, .. } = (surface.slope)(*found)?;
            assert!(loss.abs() < 1e-5, "{}: {loss} at the minimum {found:?}", surface.name);
        }
    }
    Ok(())
}

/// In single precision 300 steps stay within 1e-6 of those in double precision: even where a walk
/// overshoots at first, each valley pulls neighbouring walks together again.
#[test]
fn walks_of_pytorch() -> Result<()> {
    let golden = golden();
    for surface in &SURFACES {
        let walks = golden["functions"][surface.name]["trajectories"].as_object().unwrap();
        assert_eq!(walks.len(), 4);
        for (name, expected) in walks {
            let lr = expected["lr"].as_f64().unwrap() as f32;
            let walk = (surface.walk)(surface, rule(name, lr).unwrap(), 300)?;
            for step in expected["steps"].as_array().unwrap() {
                let [n, x, y] = numbers(step);
                let point = walk[n as usize];
                for (found, expected) in [(point.x, x), (point.y, y)] {
                    let off = (f64::from(found) - expected).abs();
                    let case = format!("{} {name}, step {n}: {found}, not {expected}", surface.name);
                    assert!(off <= 1e-5 * (1.0 + expected.abs()), "{case}");
                }
                let Slope { loss, .. } = (surface.slope)([point.x, point.y])?;
                assert_eq!(point.loss, loss, "{} {name}, step {n}", surface.name);
            }
        }
    }
    Ok(())
}

/// What the page shows.
struct Shown {
    step: usize,
    x: String,
    y: String,
    loss: String,
    status: String,
}

fn shown(browser: &mut Browser) -> Result<Shown> {
    let all = browser.eval("['at', 'x', 'y', 'loss', 'status'].map(id => document.getElementById(id).textContent)")?;
    let text = |i: usize| all[i].as_str().map(str::to_owned).context("no text");
    Ok(Shown { step: text(0)?.parse()?, x: text(1)?, y: text(2)?, loss: text(3)?, status: text(4)? })
}

/// Whether a text shows a number, rounded to its last digit.
fn shows(text: &str, number: f32) -> bool {
    if !number.is_finite() {
        return text == "too large";
    }
    let text = text.replace('\u{2212}', "-");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let (Ok(value), Ok(power)) = (text.parse::<f64>(), power.parse::<i32>()) else { return false };
    let places = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i32);
    digits.len() >= 5 && (value - f64::from(number)).abs() <= 0.5001 * 10f64.powi(power - places)
}

fn check(browser: &mut Browser, case: &str, step: usize, point: Point) -> Result<()> {
    let shown = shown(browser)?;
    ensure!(shown.step == step, "{case}: step {}, not {step}", shown.step);
    for (text, number) in [(&shown.x, point.x), (&shown.y, point.y), (&shown.loss, point.loss)] {
        ensure!(shows(text, number), "{case}, step {step}: {text}, not {number}");
    }
    Ok(())
}

fn click(browser: &mut Browser, selector: &str, times: usize) -> Result<()> {
    let click = format!("for (let i = 0; i < {times}; i++) document.querySelector({selector:?}).click()");
    browser.eval(&click).map(drop)
}

fn choose(browser: &mut Browser, surface: &Surface, rule: &str, rate: usize) -> Result<()> {
    click(browser, &format!("#surfaces input[value={}]", surface.name), 1)?;
    click(browser, &format!("#rules input[value={rule}]"), 1)?;
    let slide = format!(
        "{{ const e = document.getElementById('rate'); e.value = {rate}; e.dispatchEvent(new Event('input')) }}"
    );
    browser.eval(&slide)?;
    let lr = browser.eval("document.getElementById('rate-value').textContent")?;
    let expected = surface.rates[rate].to_string();
    ensure!(lr == expected, "{} {rule}: rate {lr}, not {expected}", surface.name);
    Ok(())
}

#[test]
fn page_in_a_browser() -> Result<()> {
    let Some(program) = Browser::installed() else {
        println!("skipped: there is no `chromium`; tests/training/landscape/setup installs it");
        return Ok(());
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("landscape-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let (file, html) = (folder.join("landscape.html"), page::page()?);
    ensure!(html.len() < 2_000_000, "the page has {} bytes", html.len());
    fs::write(&file, html)?;
    let result = Browser::open(&program, folder.join("profile"), &file).and_then(|mut browser| drive(&mut browser));
    fs::remove_dir_all(&folder)?;
    result
}

fn drive(browser: &mut Browser) -> Result<()> {
    let loaded = browser.eval("performance.getEntriesByType('resource').map(e => e.name).join()")?;
    ensure!(loaded == "" || loaded == "data:,", "the page loads {loaded}");

    // Every surface and rule, at a rate low and high.
    for surface in &SURFACES {
        for Rule { name, .. } in RULES {
            for (rate, run) in [(3, 10), (surface.rates.len() - 3, STEPS)] {
                let lr = surface.rates[rate];
                let case = format!("{} {name} {lr}", surface.name);
                let (walk, left) = surface.seen((surface.walk)(surface, rule(name, lr).unwrap(), STEPS)?);
                choose(browser, surface, name, rate)?;
                check(browser, &case, 0, walk[0])?;
                let last = walk.len() - 1;
                let mut step = 0;
                for more in [1, 1, 1, run] {
                    click(browser, "#step", more)?;
                    step = last.min(step + more);
                    check(browser, &case, step, walk[step])?;
                    let status = shown(browser)?.status;
                    let gone =
                        left.filter(|&left| step >= left).map(|left| format!("Left the picture at step {left}."));
                    ensure!(gone.is_none() || gone == Some(status.clone()), "{case}, step {step}: {status}");
                    ensure!(gone.is_some() || !status.starts_with("Left"), "{case}, step {step}: {status}");
                }
                ensure!(left.is_some() || last == STEPS, "{case}: {last} steps");
                let nan = browser.eval("document.querySelector('main').innerHTML.includes('NaN')")?;
                ensure!(nan == false, "{case}: NaN in the page");
                click(browser, "#reset", 1)?;
                check(browser, &case, 0, walk[0])?;
            }
        }
    }

    // The bowl's own rates: plain descent shrinks below 0.02 and grows above.
    let bowl = &SURFACES[0];
    for (rate, &lr) in bowl.rates.iter().enumerate() {
        let (walk, left) = bowl.seen((bowl.walk)(bowl, rule("sgd", lr).unwrap(), STEPS)?);
        assert_eq!(left.is_some(), lr > 0.02, "{lr}");
        choose(browser, bowl, "sgd", rate)?;
        click(browser, "#step", STEPS)?;
        check(browser, &format!("bowl {lr}"), walk.len() - 1, walk[walk.len() - 1])?;
    }

    // By keyboard, and played.
    choose(browser, bowl, "adam", 11)?;
    let walk = (bowl.walk)(bowl, rule("adam", bowl.rates[11]).unwrap(), STEPS)?;
    browser.eval("document.activeElement.blur()")?;
    browser.press("s", 83, "s")?;
    browser.press("ArrowRight", 39, "")?;
    check(browser, "keys", 2, walk[2])?;
    browser.press("r", 82, "r")?;
    check(browser, "keys", 0, walk[0])?;
    browser.press(" ", 32, " ")?;
    let start = Instant::now();
    while shown(browser)?.step < 3 {
        ensure!(start.elapsed() < Duration::from_secs(30), "the walk does not play");
        thread::sleep(Duration::from_millis(20));
    }
    click(browser, "#play", 1)?;
    let step = shown(browser)?.step;
    check(browser, "play", step, walk[step])?;
    thread::sleep(Duration::from_millis(200));
    check(browser, "pause", step, walk[step])
}
