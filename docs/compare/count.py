#!/usr/bin/env python3
"""Counts the lines of the programs in COMPARE.md: no blank lines, no comments.

The algorithm is what stands between the comments [algorithm] and [end] of the other programs,
and the function of that name in ours.
"""

import re
from pathlib import Path

HERE = Path(__file__).parent
OURS = HERE / "../../examples/src/bin"
COMMENT = re.compile(r'\s*(//|#(?!include|!?\[)|"""|$)')
PROGRAMS = {
    "sample sort": {
        "C": HERE / "c/sample_sort.c",
        "rsmpi": HERE / "rsmpi/src/bin/sample_sort.rs",
        "mpi4py": HERE / "mpi4py/sample_sort.py",
        "Phalanx": OURS / "sample_sort.rs",
    },
    "objects": {
        "C": HERE / "c/objects.c",
        "rsmpi": HERE / "rsmpi/src/bin/objects.rs",
        "mpi4py": HERE / "mpi4py/objects.py",
        "Phalanx": OURS / "objects.rs",
    },
}


def algorithm(text):
    marked = re.findall(r"\[algorithm\]\n(.*?)\n[^\n]*\[end\]", text, re.S)
    return "\n".join(marked or re.findall(r"^fn sample_sort\b.*?^}", text, re.S | re.M))


def lines(text):
    return sum(not COMMENT.match(line) for line in text.splitlines())


for topic, programs in PROGRAMS.items():
    print(f"{topic:<12} {'whole':>6} {'algorithm':>10}")
    for language, path in programs.items():
        text = path.read_text()
        print(f"  {language:<10} {lines(text):>6} {lines(algorithm(text)):>10}")
