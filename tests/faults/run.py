# SPDX-License-Identifier: Apache-2.0
"""run.py FILE TEST — runs one test of a file of fault tests. 0: it passed; 77: it cannot run here, and
says why. HOLDFAST_FAULTS=whole runs the long ones in full length."""
import importlib.util
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "harness")]


def main():
    path = pathlib.Path(sys.argv[1])
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    begun = time.monotonic()
    getattr(module, "test_" + sys.argv[2])()
    print(f"{sys.argv[2].replace('_', ' ')}: holds, {time.monotonic() - begun:.1f} s")


main()
