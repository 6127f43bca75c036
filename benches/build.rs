//! Compiles the references in C: those that call MPI with the `mpicc` of the MPI that everything
//! else here is linked to, and the kernel of pi as one would for this machine alone.

use std::path::Path;
use std::{env, fs};

fn main() {
    for variable in ["MPICC", "MPI_PKG_CONFIG", "CRAY_MPICH_DIR"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    compile_messages();
    compile_pi();
    copy_kernel();
}

/// C as people compile it for speed, whatever the profile of this package is.
fn optimised(file: &str) -> cc::Build {
    println!("cargo:rerun-if-changed={file}");
    let mut build = cc::Build::new();
    build.file(file).opt_level(3).debug(false).force_frame_pointer(false);
    build
}

fn compile_messages() {
    let library = build_probe_mpi::probe().unwrap_or_else(|reasons| {
        let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
        panic!("no MPI found: {}", reasons.join("; "))
    });
    let mut build = optimised("c/messages.c");
    match library.mpicc {
        Some(mpicc) => build.compiler(mpicc),
        None => build.includes(&library.include_paths),
    };
    // MPI headers are not ours to keep free of warnings.
    build.flag_if_supported("-Wno-cast-function-type").flag_if_supported("-Wno-unused-parameter");
    build.compile("bench_messages");
}

fn compile_pi() {
    optimised("c/pi.c").flag("-march=native").compile("bench_pi");
    let mut exact = optimised("c/pi_exact.c");
    exact.flag("-march=native").flag("-ffp-contract=off").compile("bench_pi_exact");
}

/// The kernel of the example is measured as it stands there, down to the last character.
fn copy_kernel() {
    let source = "../examples/src/bin/pi.rs";
    println!("cargo:rerun-if-changed={source}");
    let text = fs::read_to_string(source).expect("the example exists");
    let kernel = text
        .split_once("\nconst TWO")
        .and_then(|(_, rest)| rest.split_once("\n#[cfg(test)]"))
        .map(|(kernel, _)| format!("const TWO{kernel}"))
        .expect("the kernel of pi.rs lies between `const TWO` and its tests");
    let folder = env::var_os("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&folder).join("pi_kernel.rs"), kernel).expect("the folder is writable");
}
