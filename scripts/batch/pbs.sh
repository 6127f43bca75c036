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

# Modules to load, how often the job may start, and how many seconds before the limit the warning comes.
modules=()
max_runs=100
walltime=600
warn_before=120

cd "$PBS_O_WORKDIR"
# Quotes in it are those of a shell.
command=()
eval "command=(${PROGRAM:-target/release/pi})"

if [[ ${#modules[@]} -gt 0 ]]; then
    module purge
    module load "${modules[@]}"
fi

ranks=$(wc -l <"$PBS_NODEFILE")
run_number=${PHALANX_RUN:-1}
echo "== job $PBS_JOBID, run $run_number, on $(sort -u "$PBS_NODEFILE" | paste -sd ' '), $ranks ranks, $(date -Is)"
echo "== ${command[*]}"
env | LC_ALL=C sort | grep -E '^(PBS_|NCPUS|PHALANX_|OMPI_|MPICH_|UCX_|FI_|LOADEDMODULES)' || true

# Both families know how to reach the nodes of a PBS job, and end it when a rank fails.
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

# What PBS says of this job: its lines are broken, and go on after a tab.
about=$(qstat -f "$PBS_JOBID" | sed -e ':all' -e 'N' -e '$!b all' -e 's/\n\t//g')
value_of() {
    sed -n "s/^ *$1 = //p" <<<"$about"
}
limit=$(value_of Resource_List.walltime)
if [[ $limit =~ ^([0-9]+):([0-9]+):([0-9]+)$ ]]; then
    walltime=$((10#${BASH_REMATCH[1]} * 3600 + 10#${BASH_REMATCH[2]} * 60 + 10#${BASH_REMATCH[3]}))
fi

# Ranks that do not know the warning go on.
rank='trap "" USR1; exec "$@"'
trap 'echo "== warned, $(date -Is)"; pass_on USR1' USR1
trap 'echo "== received SIGTERM, $(date -Is)"; pass_on TERM' TERM
watch=""
if ((walltime > warn_before)); then
    {
        sleep $((walltime - warn_before)) >/dev/null 2>&1 &
        trap 'kill $!; exit' TERM
        wait $! && kill -USR1 $$
    } &
    watch=$!
else
    echo "== no warning: the limit is $walltime s, and it would come $warn_before s before"
fi
code=0
supervise mpiexec ${label[@]+"${label[@]}"} -n "$ranks" bash -c "$rank" rank "${command[@]}" || code=$?
if [[ -n $watch ]]; then
    kill "$watch" 2>/dev/null || true
fi

if [[ $code -eq 85 && $run_number -lt $max_runs ]]; then
    echo "== stopped with a checkpoint: queued again, $(date -Is)"
    # What was asked for on the command line counts for the next run, too.
    options=(-N "$PBS_JOBNAME" -l "walltime=${limit:-$walltime}")
    if [[ -n $(value_of Resource_List.select) ]]; then options+=(-l "select=$(value_of Resource_List.select)"); fi
    if [[ -n $(value_of Account_Name) ]]; then options+=(-A "$(value_of Account_Name)"); fi
    if [[ -n ${PBS_O_QUEUE:-} ]]; then options+=(-q "$PBS_O_QUEUE"); fi
    # The values are taken from here, commas and all.
    export PROGRAM=${PROGRAM:-} PHALANX_RUN=$((run_number + 1))
    qsub "${options[@]}" -v PROGRAM,PHALANX_RUN "$0" || exit "$code"
    exit 0
fi
echo "== ended with exit code $code, $(date -Is)"
exit "$code"
