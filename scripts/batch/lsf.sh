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

# Modules to load, and how often the job may start.
modules=()
max_runs=100

# Quotes in it are those of a shell.
command=()
eval "command=(${PROGRAM:-target/release/pi})"

if [[ ${#modules[@]} -gt 0 ]]; then
    module purge
    module load "${modules[@]}"
fi

runs=.runs-$LSB_JOBID-${LSB_JOBINDEX:-0}
run_number=$(($(cat "$runs" 2>/dev/null || echo 0) + 1))
echo "$run_number" >"$runs"
echo "== job $LSB_JOBID, run $run_number, on ${LSB_MCPU_HOSTS:-?}, $(date -Is)"
echo "== ${command[*]}"
env | LC_ALL=C sort | grep -E '^(LSB_|LSF_|PHALANX_|OMPI_|MPICH_|UCX_|FI_|LOADEDMODULES)' || true

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

# Ranks that do not know the warning go on.
rank='trap "" USR1; exec "$@"'
trap 'echo "== warned, $(date -Is)"; pass_on USR1' USR1
trap 'echo "== received SIGTERM, $(date -Is)"; pass_on TERM' TERM
code=0
supervise mpiexec ${label[@]+"${label[@]}"} -n "$LSB_DJOB_NUMPROC" bash -c "$rank" rank "${command[@]}" || code=$?

# LSF queues the job again if this is 85.
if [[ $code -eq 85 && $run_number -ge $max_runs ]]; then
    echo "== stopped with a checkpoint in run $run_number, the last one"
    code=1
fi
if [[ $code -ne 85 ]]; then
    rm -f "$runs"
fi
echo "== ended with exit code $code, $(date -Is)"
exit "$code"
