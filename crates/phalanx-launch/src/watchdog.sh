# shellcheck shell=sh disable=SC2046 # process numbers are words
# Ends what is left of the job $1 when the process that started it has died. That process holds the
# other end of stdin; it kills this script when the job has ended as it should.
members() {
    grep -ls "PHALANX_JOB=[0-9a-f/]*$1" /proc/[0-9]*/environ | tr -dc '0-9\n'
}

# Waits for the end of the job, at most $2 tenths of a second.
gone_within() {
    left=$2
    while [ -n "$(members "$1")" ]; do
        [ "$left" -gt 0 ] || return 1
        left=$((left - 1))
        sleep 0.1
    done
}

read -r _

# A launcher that was interrupted together with its starter is ending the ranks already. Open MPI's
# takes a second signal within five seconds for "leave at once", and would orphan them.
gone_within "$1" 10 && exit
kill -TERM $(members "$1")
gone_within "$1" 20 && exit
for _ in 1 2 3 4 5 6 7 8 9 10; do
    kill -KILL $(members "$1")
    gone_within "$1" 5 && exit
done
