"""Searches that are killed with SIGKILL, as real processes, and started again."""

import pytest

from tests.tuner.killable_search import TRIALS
from tests.tuner.killing import kill_searches


@pytest.mark.slow
@pytest.mark.parametrize(("oracle", "kills"), [("random", 5), ("grid", 3), ("bayesian", 3)])
def test_killed_at_random_moments(tmp_path, oracle, kills):
    """To the last digit as undisturbed; that no result is lost or made twice is checked, too."""
    found = list(kill_searches(tmp_path, oracle, kills, seed=0))
    assert [(different, count) for _, different, count in found] == [([], TRIALS)] * len(found)
    assert sum(killed for killed, _, _ in found) == kills
