//! A page in headless Chromium, over the DevTools protocol: messages are JSON, each with a zero byte
//! behind it, on two pipes. <https://chromedevtools.github.io/devtools-protocol/>

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value as Json, json};

/// Much more than an answer takes, as other tests keep the machine busy.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Browser {
    process: Child,
    profile: PathBuf,
    to: ChildStdin,
    from: Receiver<Json>,
    session: Option<String>,
    sent: u64,
}

impl Browser {
    /// The browser's program, where it is installed.
    pub fn installed() -> Option<PathBuf> {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join("chromium")).find(|program| program.is_file())
    }

    /// Starts the browser with an empty profile, which is a folder that is made here, and opens a
    /// file.
    pub fn open(program: &Path, profile: PathBuf, page: &Path) -> Result<Browser> {
        let _ = fs::remove_dir_all(&profile);
        fs::create_dir_all(&profile)?;
        // The browser reads from descriptor 3 and writes to 4.
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null"])
            .arg(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-pipe", "--window-size=1280,1000"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let to = process.stdin.take().context("no pipe to the browser")?;
        let mut output = BufReader::new(process.stdout.take().context("no pipe from the browser")?);
        let (sender, from) = channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                let Ok(json) = serde_json::from_slice(&message) else { break };
                if sender.send(json).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut browser = Browser { process, profile, to, from, session: None, sent: 0 };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach)?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser.call("Runtime.enable", json!({}))?;
        let opened = browser.call("Page.navigate", json!({ "url": format!("file://{}", page.display()) }))?;
        ensure!(opened.get("errorText").is_none(), "{}: {}", page.display(), opened["errorText"]);
        let start = Instant::now();
        while browser.eval("location.protocol + document.readyState")? != "file:complete" {
            ensure!(start.elapsed() < PATIENCE, "the page does not load");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(browser)
    }

    /// The value of a JavaScript expression in the page.
    pub fn eval(&mut self, expression: &str) -> Result<Json> {
        let result = self.call("Runtime.evaluate", json!({ "expression": expression, "returnByValue": true }))?;
        if let Some(exception) = result.get("exceptionDetails") {
            bail!("{expression}: {exception}");
        }
        Ok(result["result"]["value"].clone())
    }

    /// Presses a key, as on a keyboard.
    pub fn press(&mut self, key: &str, code: u32, text: &str) -> Result<()> {
        let key = json!({ "type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
        self.call("Input.dispatchKeyEvent", key.clone())?;
        let mut up = key;
        up["type"] = "keyUp".into();
        self.call("Input.dispatchKeyEvent", up).map(drop)
    }

    /// Calls a method of the protocol and waits for its result.
    pub fn call(&mut self, method: &str, params: Json) -> Result<Json> {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).with_context(|| method.to_owned())?;
        let start = Instant::now();
        loop {
            let rest = PATIENCE.saturating_sub(start.elapsed());
            let mut answer = self.from.recv_timeout(rest).with_context(|| format!("{method}: no answer"))?;
            ensure!(answer["method"] != "Runtime.exceptionThrown", "{}", answer["params"]["exceptionDetails"]);
            // All other messages are events too.
            if answer["id"] == self.sent {
                ensure!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].take());
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.session = None;
        let _ = self.call("Browser.close", json!({}));
        let start = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) {
            if start.elapsed() > Duration::from_secs(5) {
                let _ = self.process.kill();
                let _ = self.process.wait();
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = fs::remove_dir_all(&self.profile);
    }
}
