//! What must not compile: types that may not travel, buffers that are in use, wrong attributes.
//!
//! Each program of `compile_fail/` has what the compiler says of it beside it. After a change that
//! is meant, `TRYBUILD=overwrite cargo test -p phalanx-tests --test compile_fail` writes it anew.

#[test]
fn wrong_programs_do_not_compile_and_are_told_why() {
    trybuild::TestCases::new().compile_fail("compile_fail/*.rs");
}
