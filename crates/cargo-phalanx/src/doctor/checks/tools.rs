//! What a build needs beside the MPI.

use super::{Found, ok, problem};
use crate::doctor::machine::Machine;

pub fn check(machine: &Machine) -> Vec<Found> {
    let mut found = Vec::new();
    for tool in &machine.missing_tools {
        match tool.as_str() {
            "compiler" => found.push(problem(
                "no working C compiler (cc)",
                "cargo phalanx setup, or: apt install gcc libc6-dev",
            )),
            "libclang" => found.push(problem(
                "no libclang, which generates the bindings",
                "cargo phalanx setup, or: apt install libclang-dev, or name its folder in LIBCLANG_PATH",
            )),
            // A missing MPI is told above.
            _ => {}
        }
    }
    if found.is_empty() {
        found.push(ok("C compiler and libclang found"));
    }
    found
}
