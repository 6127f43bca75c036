#!/usr/bin/env bash
# A job for LSF: bsub < scripts/batch/lsf.sh, or PROGRAM="target/release/heat --size 500" bsub < …
#
# Before the time limit this script gets SIGUSR1 and passes it to all ranks. A program that then writes
# a checkpoint and leaves with code 85 is queued again by LSF (-Q).
#BSUB -J phalanx
#BSUB -n 4
#BSUB -R "span[ptile=4] rusage[mem=512MB]"
#BSUB -W 00:10
#BSUB -wa USR1
#BSUB -wt 2
#BSUB -r
#BSUB -Q "85"
#BSUB -o %J.out
set -euo pipefail

modules=()

read -r -a command <<<"${PROGRAM:-target/release/pi}"

if [[ ${#modules[@]} -gt 0 ]]; then
    module purge
    module load "${modules[@]}"
fi

echo "== job $LSB_JOBID on ${LSB_MCPU_HOSTS:-?}, $(date -Is)"
echo "== ${command[*]}"
env | LC_ALL=C sort | grep -E '^(LSB_|LSF_|PHALANX_|OMPI_|MPICH_|UCX_|FI_|LOADEDMODULES)' || true

label=(--tag-output)
if mpiexec --version 2>&1 | grep -qi hydra; then
    label=(-prepend-rank)
fi

mpiexec "${label[@]}" -n "$LSB_DJOB_NUMPROC" "${command[@]}" &
job=$!
trap 'echo "== warned, $(date -Is)"; kill -USR1 "$job" 2>/dev/null || true' USR1
code=0
while :; do
    wait "$job" && code=0 || code=$?
    # A signal ends the waiting, not the job.
    kill -0 "$job" 2>/dev/null || break
done
echo "== ended with exit code $code, $(date -Is)"
# LSF queues the job again if this is 85.
exit "$code"
