# shellcheck shell=bash
# shellcheck disable=SC2034  # shares variables with the scripts and with install.sh and mpi.sh
# Everything a build needs: Rust, a C compiler, libclang for bindgen, and an MPI.
#
#   . scripts/lib/setup.sh
#   setup                    # the MPI that is here, or the one that can be had with least trouble
#   setup openmpi            # this family, fetched into target/ when it is not here
#   setup_installs=no        # before that: install nothing
#   setup_changes=no         # nor make anything ready for a build
#
# `setup` says nothing when nothing is missing, one line when it installs something, and one
# sentence (exit code 1) when it cannot. It exports what cargo needs. What it installs without
# root lies under target/ and goes with `cargo clean`, or in the folder that PHALANX_WHEELS names. What
# `cargo phalanx setup` has installed for the user is used, too.

lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${PHALANX_PROJECT:-$(cd "$lib/../.." && pwd)}
target_root=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
setup_log=${PHALANX_WHEELS:-$target_root}/setup.log
wheel_root=${PHALANX_WHEELS:-$target_root/mpi}
user_wheels=${XDG_DATA_HOME:-${HOME:-/nonexistent}/.local/share}/phalanx/mpi
if [[ -z ${PHALANX_WHEELS:-} && ! -d $wheel_root && -d $user_wheels ]]; then wheel_root=$user_wheels; fi
given_rustflags=${RUSTFLAGS:-}
given_rustdocflags=${RUSTDOCFLAGS:-}
setup_installs=yes
setup_changes=yes

# What `setup` finds: the compiler wrapper, openmpi or mpich, "Open MPI 4.1.4", the launcher.
mpi_cc="" mpi_family="" mpi_name="" mpi_exec=""

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "error: $*"
    exit 1
}

# shellcheck source=/dev/null
. "$lib/install.sh"
# shellcheck source=/dev/null
. "$lib/mpi.sh"

setup() {
    local family=${1:-any}
    need_rust
    if [[ -n ${MPICC:-} ]] && ! has "$MPICC"; then
        fail "MPICC names $MPICC, which is not a program: set it to an MPI compiler wrapper, or unset it."
    fi
    need_tools "$family"
    use_libclang
    use_mpi "$family"
}

need_rust() {
    local wanted found
    # A shell that was open while rustup ran does not know the folder yet.
    has cargo || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    # Where there is no project yet, or it does not say, any version will do.
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$root/Cargo.toml" 2>/dev/null || true)
    if ! found=$(rustc --version 2>/dev/null) || ! has cargo; then
        fail "Rust is missing: install ${wanted:+version $wanted or newer }from https://rustup.rs."
    fi
    found=$(cut -d ' ' -f 2 <<<"$found")
    if ! sort --version-sort --check=quiet <<<"$wanted"$'\n'"$found"; then
        fail "Rust $found is too old: install version $wanted or newer (rustup update, or https://rustup.rs)."
    fi
}

# A C compiler, libclang and an MPI: packages where that is allowed, else wheels, else one sentence.
need_tools() {
    local family=$1 missing way
    for way in install_packages install_wheels give_up; do
        mapfile -t missing < <(missing_tools "$family")
        if [[ ${#missing[@]} -eq 0 ]]; then
            return 0
        fi
        if [[ $setup_installs == no ]]; then
            way=give_up
        fi
        "$way" "${missing[@]}" || true
    done
}

missing_tools() {
    has_c_compiler || echo compiler
    use_libclang || echo libclang
    find_mpicc "$1" >/dev/null || echo "${1/any/mpi}"
}

give_up() {
    local packages hint="" tried=""
    if has python3 && ! has_c_compiler; then
        set -- compiler # the rest will come by itself
    fi
    mapfile -t packages < <(packages_of "$@")
    if ! has python3; then
        hint=", or only python3: MPI and libclang are then installed without root"
        [[ " $* " == *" compiler "* ]] && hint=" (with python3 the first two are enough)"
    fi
    if [[ -s $setup_log ]]; then
        tried=" (log of the attempts: $setup_log)"
    fi
    fail "missing: $(names_of "$@"); install $(list "${packages[@]}")$hint$tried."
}

has() { command -v "$1" >/dev/null; }

has_c_compiler() {
    cc -x c -o /dev/null - <<<'#include <stdio.h>
int main(void) { return puts("") < 0; }' 2>/dev/null
}

# Finds libclang where bindgen looks for it, or the wheel's. A libclang without its own headers
# borrows those of gcc.
use_libclang() {
    local folder
    if [[ -n ${LIBCLANG_PATH:-} ]]; then
        return 0
    elif has llvm-config &&
        holds_libclang "$(llvm-config --libdir)"; then
        return 0
    elif holds_libclang '/usr/lib*/llvm*/lib' || holds_libclang '/usr/lib/*-linux-gnu*' ||
        holds_libclang /usr/lib64; then
        compgen -G '/usr/lib*/*/lib/clang/*/include/stddef.h' >/dev/null ||
            compgen -G '/usr/lib*/clang/*/include/stddef.h' >/dev/null || use_gcc_headers
    elif folder=$(find_in_wheel libclang libclang.so); then
        LIBCLANG_PATH=$(dirname "$folder")
        export LIBCLANG_PATH
        use_gcc_headers
    else
        return 1
    fi
}

# The names that bindgen looks for. libclang-cpp, which comes with other packages, is another library.
holds_libclang() {
    local name
    for name in libclang.so 'libclang.so.*' 'libclang-[0-9]*.so' 'libclang-[0-9]*.so.*'; do
        compgen -G "$1/$name" >/dev/null && return 0
    done
    return 1
}

use_gcc_headers() {
    local folder
    folder=$(cc -print-file-name=include 2>/dev/null) || return 0
    if [[ " ${BINDGEN_EXTRA_CLANG_ARGS:-} " != *" -I$folder "* ]]; then
        export BINDGEN_EXTRA_CLANG_ARGS="${BINDGEN_EXTRA_CLANG_ARGS:+$BINDGEN_EXTRA_CLANG_ARGS }-I$folder"
    fi
}
