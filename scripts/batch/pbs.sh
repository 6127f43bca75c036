#!/usr/bin/env bash
# A job for PBS Pro or OpenPBS: qsub [-v PROGRAM="target/release/heat --size 500"] scripts/batch/pbs.sh
#
# Before the time limit PBS ends, this script sends SIGUSR1 to all ranks. A program that then writes a checkpoint
# and leaves with code 85 is queued again.
#PBS -N phalanx
#PBS -l select=1:ncpus=4:mpiprocs=4:mem=2gb
#PBS -l walltime=00:10:00
#PBS -j oe
#PBS -r y
#PBS -k oed
set -euo pipefail

# Modules to load, and how many seconds before the limit the warning comes.
modules=()
walltime=600
warn_before=120

cd "$PBS_O_WORKDIR"
read -r -a command <<<"${PROGRAM:-target/release/pi}"

if [[ ${#modules[@]} -gt 0 ]]; then
    module purge
    module load "${modules[@]}"
fi

ranks=$(wc -l <"$PBS_NODEFILE")
echo "== job $PBS_JOBID on $(sort -u "$PBS_NODEFILE" | paste -sd ' '), $ranks ranks, $(date -Is)"
echo "== ${command[*]}"
env | LC_ALL=C sort | grep -E '^(PBS_|NCPUS|PHALANX_|OMPI_|MPICH_|UCX_|FI_|LOADEDMODULES)' || true

# Both families know how to reach the nodes of a PBS job, and end it when a rank fails.
label=(--tag-output)
if mpiexec --version 2>&1 | grep -qi hydra; then
    label=(-prepend-rank)
fi

mpiexec "${label[@]}" -n "$ranks" "${command[@]}" &
job=$!
{
    sleep $((walltime - warn_before))
    echo "== warned, $(date -Is)"
    kill -USR1 "$job"
} &
watch=$!
wait "$job" && code=0 || code=$?
kill "$watch" 2>/dev/null || true

if [[ $code -eq 85 ]]; then
    echo "== stopped with a checkpoint: queued again, $(date -Is)"
    qsub -v "PROGRAM=${command[*]}" "$0" || exit "$code"
    exit 0
fi
echo "== ended with exit code $code, $(date -Is)"
exit "$code"
