"""Which replica is which, and how their logs are put in order."""

import numpy as np
import pytest

from keras_physreg.replicas.plan import Plan

SETTINGS = [{"a": 0.0, "b": 1.0}, {"a": 0.5, "b": 2.0}]
SPLITS = [([0, 1], [2]), ([1, 2], [0]), ([0, 2], [1])]
PLAN = Plan.of(SETTINGS, [[10, 11], [20, 21], [30, 31]], SPLITS)


def test_every_replica_is_one_setting_split_and_seed():
    assert PLAN.shape == (2, 3, 2)
    assert PLAN.replicas == 12
    for replica in range(12):
        setting, split, seed = PLAN.position(replica)
        assert PLAN.index(setting, split, seed) == replica
        assert replica in PLAN.of_setting(setting)
        assert PLAN.weights["a"][replica] == SETTINGS[setting]["a"]
        assert PLAN.weights["b"][replica] == SETTINGS[setting]["b"]
        assert PLAN.replica_seeds[replica] == 10 * (split + 1) + seed
        assert list(PLAN.rows[replica]) == SPLITS[split][0]
        assert list(PLAN.validation_rows[replica]) == SPLITS[split][1]


def test_logs_by_setting_split_seed_and_epoch():
    log = np.arange(5)[:, None] + 100 * np.arange(12)
    curves = PLAN.curves(log)
    assert curves.shape == (2, 3, 2, 5)
    assert curves[1, 2, 0, 4] == 4 + 100 * PLAN.index(1, 2, 0)
    assert PLAN.reshape(log[0])[0, 1, 1] == 100 * PLAN.index(0, 1, 1)
    assert PLAN.curves(np.zeros((5, 12, 3))).shape == (2, 3, 2, 5, 3)


def test_without_splits_or_seeds():
    plan = Plan.of(SETTINGS, [5, 6])
    assert plan.shape == (2, 1, 2)
    assert plan.replica_seeds == [5, 6, 5, 6]
    assert plan.rows is None
    assert plan.validation_rows is None
    assert Plan.of(SETTINGS).replica_seeds is None
    assert Plan.of(SETTINGS).replicas == 2
    assert Plan.of(SETTINGS, [5, 6], SPLITS).replica_seeds == [5, 6] * 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "at least one setting"),
        (([{"a": 1.0}, {"b": 1.0}],), r"same terms.*\['a'\], \['b'\]"),
        ((SETTINGS, [[1], [2]], SPLITS), r"one sequence per split \(3\).*\[1, 1\]"),
        ((SETTINGS, [[1], [2], [3, 4]], SPLITS), r"\[1, 1, 2\]"),
        ((SETTINGS, []), r"\[0\]"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        Plan.of(*arguments)
