//! What the compiler says of every mistake that a user can make; `TRYBUILD=overwrite` rewrites the
//! expected messages.

#[test]
fn messages() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("fail/*.rs");
}
