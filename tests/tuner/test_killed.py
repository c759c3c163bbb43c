"""Searches that are killed with SIGKILL, as real processes, and started again."""

import os

import pytest

from tests.tuner.killable_search import TRIALS
from tests.tuner.killing import kill_searches

KILLS = int(os.environ.get("KILLS", "1"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("oracle", ["grid", "bayesian"])
def test_killed_at_random_moments(tmp_path, oracle):
    """To the last digit as undisturbed; that no result is lost or made twice is checked, too.

    The random oracle draws as the first trials of the Bayesian one: see search/test_project.py.
    """
    found = list(kill_searches(tmp_path, oracle, KILLS, seed=0))
    assert [(different, count) for _, different, count in found] == [([], TRIALS)] * len(found)
    assert sum(killed for killed, _, _ in found) == KILLS
