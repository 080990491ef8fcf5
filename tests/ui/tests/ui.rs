//! What the compiler says of every mistake that a user can make; `TRYBUILD=overwrite` rewrites the
//! expected messages.

use std::env;
use std::process::Command;

/// The flags of the compiler by which trybuild checks programs. It checks the dependencies without the last of them
/// first, and then once more with it, unless all come from outside.
const FLAGS: (&str, &str) =
    ("CARGO_ENCODED_RUSTFLAGS", "--cfg\x1ftrybuild\x1f--verbose\x1f-A\x1fdead_code\x1f--diagnostic-width=140");

#[test]
fn messages() {
    if env::var_os(FLAGS.0).is_none() {
        let mut again = Command::new(env::current_exe().expect("the path of this program"));
        let status = again.args(env::args_os().skip(1)).env(FLAGS.0, FLAGS.1).status().expect("a process");
        assert!(status.success(), "some messages are others than expected: see above");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.compile_fail("fail/*.rs");
}
