# shellcheck shell=bash
# shellcheck disable=SC2154  # what setup.sh sets
# $1: folder of the scripts, $2: family of the MPI, $3: whether to install what is missing.
set -euo pipefail
. "$1/setup.sh"
setup_installs=$3
setup "$2" >&2
launch_settings
printf '%s\0' "$mpi_name" "$mpi_exec" "$mpi_cc" "$(print_settings)" \
    "${CARGO_TARGET_DIR:-}" "${MPICC:-}" "${RUSTFLAGS:-}" "${LIBCLANG_PATH:-}" "${BINDGEN_EXTRA_CLANG_ARGS:-}"
