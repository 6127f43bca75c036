# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034  # what setup.sh sets, and reads
# $1: folder of the scripts, $2: family of the MPI, $3: look, build (look, and get ready for a build) or install.
set -euo pipefail
# shellcheck source=/dev/null
. "$1/setup.sh"
if [[ $3 != install ]]; then
    setup_installs=no
fi
if [[ $3 == look || ! -e $root/Cargo.toml ]]; then
    setup_changes=no
fi
setup "$2" >&2
launch_settings
printf '%s\0' "$mpi_name" "$mpi_exec" "$mpi_cc" "$(print_settings)" \
    "${CARGO_TARGET_DIR:-}" "${MPICC:-}" "${RUSTFLAGS:-}" "${RUSTDOCFLAGS:-}" "${LIBCLANG_PATH:-}" "${BINDGEN_EXTRA_CLANG_ARGS:-}"
