//! Tests once more in processes of their own, with every value of a program between pages that nobody may touch.
#![allow(dead_code)] // each test program uses a part of it

use std::process::Command;

/// The levels of vector instructions that this machine has, as `DOWNHILL_SIMD` names them.
pub fn levels() -> Vec<&'static str> {
    let mut levels = vec!["portable"];
    #[cfg(target_arch = "x86_64")]
    {
        levels.extend((is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some("avx2"));
        levels.extend(is_x86_feature_detected!("avx512f").then_some("avx512"));
    }
    levels
}

/// Runs all tests of a module of this program again for each side that a value can have against its pages, at each level.
/// The inputs of random cases are printed before they run, so that those of a process that was ended are seen.
pub fn run_tests_again(module: &str) {
    if cfg!(not(unix)) || std::env::var_os("DOWNHILL_GUARD").is_some() {
        return;
    }
    let (_, tests) = module.split_once("::").expect("a module of a program");
    for side in ["start", "end"] {
        for level in levels() {
            let mut again = Command::new(std::env::current_exe().expect("the path of this program"));
            again.args([tests, "--nocapture", "--test-threads", "1"]);
            again.envs([("DOWNHILL_GUARD", side), ("DOWNHILL_SIMD", level), ("PROPTEST_VERBOSE", "2")]);
            let output = again.output().expect("a process");
            let text = [output.stdout, output.stderr].concat();
            let last: Vec<String> = String::from_utf8_lossy(&text).lines().rev().take(40).map(str::to_owned).collect();
            let last: Vec<&str> = last.iter().rev().map(String::as_str).collect();
            assert!(output.status.success(), "{side}, {level}: {}\n{}", output.status, last.join("\n"));
        }
    }
}
