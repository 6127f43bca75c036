#!/usr/bin/env bash
# Installs Slurm and munge for the tests that run real batch jobs: scripts/lib/slurm.sh
#
# Their daemons are not started here: tests start their own, in folders of their own. libpmix-dev is what
# makes Slurm's plugin for --mpi=pmix find the library.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

policy=/usr/sbin/policy-rc.d
if has slurmctld && has munged && [[ -e /usr/include/pmix.h || -e /usr/lib/x86_64-linux-gnu/pmix2/include/pmix.h ]]; then
    exit 0
fi
[[ $EUID -eq 0 ]] || fail "Slurm can be installed by root alone."
if [[ ! -e $policy ]]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
apt_install slurm-wlm munge libpmix-dev || fail "Slurm cannot be installed (log: $setup_log)."
