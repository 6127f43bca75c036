#!/bin/sh
# Builds and runs the programs of COMPARE.md one after another, on 4 ranks.
# Needs mpicc, mpirun, cargo, and a Python that has mpi4py and numpy: PYTHON=… says which.
# On fewer than 4 cores: MPIRUN="mpirun --oversubscribe -n 4" ./run.sh
set -eu
cd "$(dirname "$0")"
here=$PWD
out=$here/../../target/compare
mpirun=${MPIRUN:-mpirun -n 4}
python=${PYTHON:-python3}
mkdir -p "$out"

(cd rsmpi && cargo build --quiet --release --target-dir "$out/rsmpi")
(cd ../.. && cargo build --quiet --release --target-dir "$out/phalanx" -p examples \
    --bin sample_sort --bin objects)
for program in sample_sort objects; do
    mpicc -O2 "c/$program.c" -o "$out/$program"
    echo "C:       $($mpirun "$out/$program")"
    echo "rsmpi:   $($mpirun "$out/rsmpi/release/$program")"
    echo "mpi4py:  $($mpirun "$python" "mpi4py/$program.py")"
    echo "Phalanx: $($mpirun "$out/phalanx/release/$program")"
done
