#!/usr/bin/env bash
# Installs Slurm and Grid Engine for the tests that run real batch jobs: scripts/lib/batch_systems.sh
#
# Their daemons are not started here: tests start their own, in folders of their own. libpmix-dev is what
# makes Slurm's plugin for --mpi=pmix find the library.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

policy=/usr/sbin/policy-rc.d

# install NAME PACKAGES …
install() {
    local name=$1
    shift
    [[ $EUID -eq 0 ]] || fail "$name can only be installed by root."
    if [[ ! -e $policy ]]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    apt_install "$@" || fail "$name cannot be installed (log: $setup_log)."
}

# Each on its own: where one cannot be had, the other may.
status=0
if ! has slurmctld || ! has munged || [[ ! -e /usr/include/pmix.h && ! -e /usr/lib/x86_64-linux-gnu/pmix2/include/pmix.h ]]; then
    (install Slurm slurm-wlm munge libpmix-dev) || status=1
fi
if ! has sge_qmaster || ! has sge_execd || ! has qsub; then
    (install "Grid Engine" gridengine-master gridengine-exec gridengine-client) || status=1
fi
exit "$status"
