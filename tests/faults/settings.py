# SPDX-License-Identifier: Apache-2.0
"""How long the long ones are: short in each run, whole with HOLDFAST_FAULTS=whole."""
import os
import sys

WHOLE = os.environ.get("HOLDFAST_FAULTS") == "whole"


def short_or(short, whole):
    return whole if WHOLE else short


def offsets(length, some):
    """Every byte offset, or some of them with both ends and the neighbours of the beginning."""
    if WHOLE or length <= some:
        return list(range(length + 1))
    return sorted({0, 1, 5, length} | {length * n // some for n in range(some)})


def not_here(why):
    print(f"cannot run here: {why}")
    sys.exit(77)


def need_root(what):
    if os.geteuid() != 0:
        not_here(f"{what} needs root")
