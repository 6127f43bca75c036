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

# Modules to load, and how often the job may start.
modules=()
max_runs=100

if [[ $# -eq 0 ]]; then
    set -- target/release/pi
fi

if [[ ${#modules[@]} -gt 0 ]]; then
    module purge
    module load "${modules[@]}"
fi

slots=$(flux resource list --no-header --states=all --format='{ncores}')
run_number=${PHALANX_RUN:-1}
echo "== job ${FLUX_ENCLOSING_ID:-?}, run $run_number, $slots ranks, $(date -Is)"
echo "== $*"
env | LC_ALL=C sort | grep -E '^(FLUX_|PHALANX_|OMPI_|MPICH_|UCX_|FI_|LOADEDMODULES)' || true

# Runs a command whose exit code comes through a pipe: where a signal and the end of the command come together,
# bash's `wait` may tell the code of the signal.
supervise() {
    local code=""
    exec 4>&1 3< <(
        trap '' USR1 USR2 TERM
        (trap - TERM && exec "$@" >&4 4>&-) &
        echo $!
        wait $! && echo 0 || echo $?
    )
    # In some modes of bash a signal ends the reading; it does not end the command.
    until read -r _ <&3 || (($? <= 128)); do :; done
    until [[ -n $code ]]; do
        read -r code <&3 || (($? > 128)) || code=1
    done
    return "$code"
}

# Ranks that do not know the warning go on.
rank='trap "" USR1; exec "$@"'
trap 'echo "== warned, $(date -Is)"; flux job kill --signal=USR1 "$(flux job last)" || true' USR1
trap 'echo "== received SIGTERM, $(date -Is)"; flux job kill --signal=TERM "$(flux job last)" || true' TERM
# A rank that fails ends the others at once; their exit code is that of the job.
code=0
supervise flux run --ntasks="$slots" --label-io --setopt=exit-timeout=none --setopt=exit-on-error \
    bash -c "$rank" rank "$@" || code=$?

if [[ $code -eq 85 && $run_number -lt $max_runs ]]; then
    echo "== stopped with a checkpoint: submitted again, $(date -Is)"
    # Its size counts for the next run, too, however it was asked for.
    nodes=$(flux resource list --no-header --states=all --format='{nnodes}')
    PHALANX_RUN=$((run_number + 1)) flux --parent batch --nslots="$slots" --nodes="$nodes" "$0" "$@" || exit "$code"
    exit 0
fi
echo "== ended with exit code $code, $(date -Is)"
exit "$code"
