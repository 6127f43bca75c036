#!/usr/bin/env bash
# A job for Flux: flux batch scripts/batch/flux.sh [PROGRAM [ARGUMENTS …]]
#
# Before the time limit this script gets SIGUSR1 and passes it to all ranks. A program that then writes
# a checkpoint and leaves with code 85 is submitted again.
#flux: --job-name=phalanx
#flux: --nodes=1
#flux: --nslots=4
#flux: --cores-per-task=1
#flux: --time-limit=10m
#flux: --signal=USR1@120s
#flux: --output=phalanx-{{id}}.out
set -euo pipefail

modules=()

if [[ $# -eq 0 ]]; then
    set -- target/release/pi
fi

if [[ ${#modules[@]} -gt 0 ]]; then
    module purge
    module load "${modules[@]}"
fi

slots=$(flux resource list --no-header --states=all --format='{ncores}')
echo "== job ${FLUX_ENCLOSING_ID:-?}, $slots ranks, $(date -Is)"
echo "== $*"
env | LC_ALL=C sort | grep -E '^(FLUX_|PHALANX_|OMPI_|MPICH_|UCX_|FI_|LOADEDMODULES)' || true

# A rank that fails ends the others at once; their exit code is that of the job.
flux run --ntasks="$slots" --label-io --setopt=exit-timeout=none --setopt=exit-on-error "$@" &
job=$!
trap 'echo "== warned, $(date -Is)"; flux job kill --signal=USR1 "$(flux job last)" || true' USR1
code=0
while :; do
    wait "$job" && code=0 || code=$?
    # A signal ends the waiting, not the job.
    kill -0 "$job" 2>/dev/null || break
done

if [[ $code -eq 85 ]]; then
    echo "== stopped with a checkpoint: submitted again, $(date -Is)"
    flux --parent batch "$0" "$@" || exit "$code"
    exit 0
fi
echo "== ended with exit code $code, $(date -Is)"
exit "$code"
