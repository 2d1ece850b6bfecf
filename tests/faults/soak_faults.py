# SPDX-License-Identifier: Apache-2.0
"""Everything at once: tests/soak, short in each run of the long tests, half an hour a seed when they run whole."""
from settings import short_or
from soak import soak


def soaks(seed, seconds):
    done = soak(seed, short_or(seconds, 1800))
    print(done.line)
    done.check()


def test_a_soak_loses_nothing_and_brings_nothing_back():  # slow
    soaks(1, 60)


def test_a_soak_of_a_second_seed_loses_nothing():  # slow
    soaks(2, 25)


def test_a_soak_of_a_third_seed_loses_nothing():  # slow
    soaks(3, 25)
