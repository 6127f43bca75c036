//! Compiles the C shim with the same MPI that `mpi-sys` links.

fn main() {
    println!("cargo:rerun-if-changed=src/shim.c");
    // mpi-sys tells cargo of none of these, so at least the shim follows a changed MPI.
    for variable in ["MPICC", "MPI_PKG_CONFIG", "CRAY_MPICH_DIR"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let library = match build_probe_mpi::probe() {
        Ok(library) => library,
        Err(reasons) => {
            for reason in reasons {
                println!("cargo:warning={}", reason.to_string().replace('\n', " "));
            }
            eprintln!(
                "error: no MPI found. Install one (`apt install libopenmpi-dev openmpi-bin`) or set MPICC \
                 to the compiler wrapper of yours."
            );
            std::process::exit(1);
        }
    };
    let mut shim = cc::Build::new();
    shim.file("src/shim.c").warnings(true).extra_warnings(true);
    match library.mpicc {
        Some(mpicc) => {
            shim.compiler(mpicc);
        }
        None => {
            shim.includes(&library.include_paths);
        }
    }
    // MPI headers are not ours to keep free of warnings.
    shim.flag_if_supported("-Wno-cast-function-type").flag_if_supported("-Wno-unused-parameter");
    shim.compile("phalanx_mpi_shim");
}
