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

runs=.runs-$JOB_ID-${SGE_TASK_ID:-0}
run_number=$(($(cat "$runs" 2>/dev/null || echo 0) + 1))
echo "$run_number" >"$runs"
echo "== job $JOB_ID, run $run_number, on $(cut -d ' ' -f 1 "$PE_HOSTFILE" | paste -sd ' '), $NSLOTS ranks, $(date -Is)"
echo "== $*"
env | LC_ALL=C sort | grep -E '^(JOB_|PE_|NSLOTS|QUEUE|PHALANX_|OMPI_|MPICH_|UCX_|FI_|LOADEDMODULES)' || true

# The launcher's text is read as a whole: one that is cut off by the end of its reader fails, and with it the pipe.
case $(mpiexec --version 2>&1 || true) in
    *"Open MPI"* | *OpenRTE*) label=(--tag-output) ;;
    *HYDRA* | *"Intel(R) MPI"*) label=(-prepend-rank) ;;
    *) label=() ;;
esac

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

# Grid Engine sends SIGUSR1 or, with -notify, SIGUSR2 to every process of the job, which ends those that do not
# catch it. mpiexec catches both, and sends them on to ranks, of which most know at most SIGUSR1.
rank='trap "" USR1 USR2; exec "$@"'
trap 'echo "== warned, $(date -Is)"; pass_on USR1' USR1 USR2
trap 'echo "== received SIGTERM, $(date -Is)"; pass_on TERM' TERM
code=0
supervise mpiexec ${label[@]+"${label[@]}"} -n "$NSLOTS" bash -c "$rank" rank "$@" || code=$?

echo "== ended with exit code $code, $(date -Is)"
if [[ $code -eq 85 && $run_number -lt $max_runs ]]; then
    # For Grid Engine this means: again.
    exit 99
fi
rm -f "$runs"
exit "$code"
