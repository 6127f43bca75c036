#!/usr/bin/env bash
# A job for Grid Engine: qsub scripts/batch/gridengine.sh [PROGRAM [ARGUMENTS …]]
#
# The parallel environment is called `mpi` here: `qconf -spl` names those of a site. At the soft limit (s_rt) ranks get
# SIGUSR1. A program that then writes a checkpoint and leaves with code 85 is queued again (exit code 99), which Grid
# Engine no longer does at the hard limit (h_rt). Ranks get SIGUSR1 also before qdel ends the job (-notify).
#$ -N phalanx
#$ -pe mpi 4
#$ -l h_rt=00:10:00
#$ -l s_rt=00:08:00
#$ -l h_vmem=512M
#$ -cwd
#$ -j y
#$ -r y
#$ -notify
#$ -S /bin/bash
set -euo pipefail

modules=()

if [[ $# -eq 0 ]]; then
    set -- target/release/pi
fi

if [[ ${#modules[@]} -gt 0 ]]; then
    module purge
    module load "${modules[@]}"
fi

echo "== job $JOB_ID on $(cut -d ' ' -f 1 "$PE_HOSTFILE" | paste -sd ' '), $NSLOTS ranks, $(date -Is)"
echo "== $*"
env | LC_ALL=C sort | grep -E '^(JOB_|PE_|NSLOTS|QUEUE|PHALANX_|OMPI_|MPICH_|UCX_|FI_|LOADEDMODULES)' || true

label=(--tag-output)
if mpiexec --version 2>&1 | grep -qi hydra; then
    label=(-prepend-rank)
fi

# Grid Engine sends SIGUSR1 or, with -notify, SIGUSR2 to every process of the job, which ends those that do not
# catch it. mpiexec catches both, and sends them on to ranks, of which most know at most SIGUSR1.
(
    trap '' USR1 USR2
    # shellcheck disable=SC2016 # for the inner shell
    exec mpiexec "${label[@]}" -n "$NSLOTS" bash -c 'trap "" USR1 USR2; exec "$@"' rank "$@"
) &
job=$!
trap 'echo "== warned, $(date -Is)"; kill -USR1 "$job" 2>/dev/null || true' USR1 USR2
code=0
while :; do
    wait "$job" && code=0 || code=$?
    # A signal ends the waiting, not the job.
    kill -0 "$job" 2>/dev/null || break
done
echo "== ended with exit code $code, $(date -Is)"
if [[ $code -eq 85 ]]; then
    # For Grid Engine this means: again.
    code=99
fi
exit "$code"
