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

# Modules to load, how often the job may start, and how Slurm starts ranks of their MPI (srun --mpi=list): pmix for Open MPI, pmi2 for MPICH.
modules=()
max_runs=100
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

run_number=$((${SLURM_RESTART_COUNT:-0} + 1))
echo "== job $SLURM_JOB_ID, run $run_number, on ${SLURM_JOB_NODELIST:-?}, $(date -Is)"
echo "== $*"
env | LC_ALL=C sort | grep -E '^(SLURM_(JOB|NTASKS|NNODES|CPUS|MEM)|PHALANX_|OMPI_|MPICH_|UCX_|FI_|LOADEDMODULES)' || true

job=""
# shellcheck disable=SC2317,SC2329 # traps call it
pass_on() {
    if [[ -n $job ]]; then kill -"$1" "$job" 2>/dev/null || true; fi
}

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
    until read -r job <&3 || (($? <= 128)); do :; done
    until [[ -n $code ]]; do
        read -r code <&3 || (($? > 128)) || code=1
    done
    return "$code"
}

# A rank that leaves with 85 has done what it was told to: for Slurm that is no bad exit.
again=$PWD/.again-$SLURM_JOB_ID
# shellcheck disable=SC2317,SC2329 # srun calls it
run_rank() {
    local code=0
    # Slurm tells this shell alone, or all processes of the rank: whoever hears it, the program has to.
    trap 'pass_on USR1' USR1
    trap 'pass_on TERM' TERM
    supervise "$@" || code=$?
    if [[ $code -eq 85 ]] && : >"$again"; then
        return 0
    fi
    return "$code"
}
export -f pass_on supervise run_rank
export again

rm -f "$again"
trap 'echo "== warned, $(date -Is)"; pass_on USR1' USR1
# Slurm tells the ranks itself. Who tells this script, too, wants no more of the job (scancel).
cancelled=""
trap 'cancelled=yes; echo "== received SIGTERM, $(date -Is)"' TERM
code=0
supervise srun --mpi="$mpi" --export=ALL --kill-on-bad-exit=1 --label bash -c 'run_rank "$@"' rank "$@" || code=$?

if [[ $code -eq 85 || ($code -eq 0 && -e $again) ]]; then
    rm -f "$again"
    if [[ -n $cancelled ]]; then
        echo "== stopped with a checkpoint, and cancelled, $(date -Is)"
        exit 85
    fi
    if [[ $run_number -ge $max_runs ]]; then
        echo "== stopped with a checkpoint in run $run_number, the last one, $(date -Is)"
        exit 85
    fi
    echo "== stopped with a checkpoint: queued again, $(date -Is)"
    scontrol requeue "$SLURM_JOB_ID" || exit 85
    # Slurm ends this script now, which waits without a child: nothing says "Terminated".
    trap 'exit 85' TERM
    exec {never}<> <(:)
    read -r -t 60 -u "$never" || true
fi
echo "== ended with exit code $code, $(date -Is)"
exit "$code"
