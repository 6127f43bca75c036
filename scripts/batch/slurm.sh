#!/usr/bin/env bash
# A job for Slurm: sbatch scripts/batch/slurm.sh [PROGRAM [ARGUMENTS …]]
#
# Before the time limit all ranks get SIGUSR1. A program that then writes a checkpoint and leaves
# with code 85 is queued again (`heat --checkpoint FOLDER --resume` does so).
#SBATCH --job-name=phalanx
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=512M
#SBATCH --time=00:10:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
##SBATCH --partition=NAME
##SBATCH --account=NAME
set -euo pipefail

# Modules to load, and how Slurm starts ranks of their MPI (srun --mpi=list): pmix for Open MPI, pmi2 for MPICH.
modules=()
mpi=${PHALANX_SRUN_MPI:-pmix}

if [[ $# -eq 0 ]]; then
    set -- target/release/pi
fi

if [[ ${#modules[@]} -gt 0 ]]; then
    module purge
    module load "${modules[@]}"
fi

# Steps do not inherit this from the job.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}

echo "== job $SLURM_JOB_ID, run $((${SLURM_RESTART_COUNT:-0} + 1)), on ${SLURM_JOB_NODELIST:-?}, $(date -Is)"
echo "== $*"
env | LC_ALL=C sort | grep -E '^(SLURM_(JOB|NTASKS|NNODES|CPUS|MEM)|PHALANX_|OMPI_|MPICH_|UCX_|FI_|LOADEDMODULES)' || true

# A rank that leaves with 85 has done what it was told to: for Slurm that is no bad exit.
again=$PWD/.again-$SLURM_JOB_ID
export again
# shellcheck disable=SC2317 # srun calls it
run_rank() {
    local child code=0
    "$@" &
    child=$!
    # Whoever hears the warning, the program has to.
    trap 'kill -USR1 "$child" 2>/dev/null' USR1
    while :; do
        wait "$child" && code=0 || code=$?
        kill -0 "$child" 2>/dev/null || break
    done
    if [[ $code -eq 85 ]]; then
        : >"$again"
        return 0
    fi
    return "$code"
}
export -f run_rank

rm -f "$again"
srun --mpi="$mpi" --kill-on-bad-exit=1 --label bash -c 'run_rank "$@"' rank "$@" &
step=$!
trap 'echo "== warned, $(date -Is)"; kill -USR1 "$step" 2>/dev/null || true' USR1
code=0
while :; do
    wait "$step" && code=0 || code=$?
    # A signal ends the waiting, not the step.
    kill -0 "$step" 2>/dev/null || break
done

if [[ $code -eq 0 && -e $again ]]; then
    rm -f "$again"
    echo "== stopped with a checkpoint: queued again, $(date -Is)"
    scontrol requeue "$SLURM_JOB_ID"
    # Slurm ends this script now.
    sleep 60
fi
echo "== ended with exit code $code, $(date -Is)"
exit "$code"
