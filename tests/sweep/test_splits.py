"""Splits of the labelled rows: what `cv=` may be, and what is refused with a cure."""

import json

import numpy as np
import pytest
import tensorflow as tf
from sklearn import model_selection as sk

from keras_physreg.sweep.splits import Splits, checked_splits

Z, X = np.zeros((20, 3), "float32"), np.linspace(0.0, 1.0, 40).reshape(20, 2)
GROUPS = np.arange(20) // 4


def splits(cv, repeats=None, groups=None, x=Z, y=X, seed=0):
    return checked_splits(cv, repeats, groups, x, y, seed)


def pairs(found):
    return [(a.tolist(), b.tolist()) for a, b in zip(found.train, found.held_out, strict=True)]


# An integer


def test_an_integer_shuffles_folds_anew_in_each_repeat():
    found = splits(5)
    assert (found.count, found.label, found.rows) == (20, "5 folds x 4 shuffles", 20)
    assert found.mean_ratio == 0.25
    for first in range(0, 20, 5):
        held_out = found.held_out[first : first + 5]
        assert sorted(np.concatenate(held_out)) == list(range(20))
        assert [len(rows) for rows in held_out] == [4] * 5
    assert len({rows.tobytes() for rows in found.held_out}) == 20
    for train, held_out in zip(found.train, found.held_out, strict=True):
        assert train.tolist() == [row for row in range(20) if row not in held_out]
        assert held_out.tolist() == sorted(held_out)
        assert train.dtype == held_out.dtype == np.int64


def test_folds_differ_by_one_row_at_most():
    found = splits(5, 1, x=Z[:18], y=X[:18])
    assert sorted(len(rows) for rows in found.held_out) == [3, 3, 4, 4, 4]
    assert found.label == "5 folds x 1 shuffle"
    expected = np.mean([4 / 14] * 3 + [3 / 15] * 2)
    assert found.mean_ratio == pytest.approx(expected, rel=1e-12)


def test_the_seed_makes_the_shuffles():
    assert pairs(splits(5, 2, seed=3)) == pairs(splits(5, 2, seed=3))
    assert pairs(splits(5, 2, seed=3)) != pairs(splits(5, 2, seed=4))
    assert pairs(splits(5, 2)) == pairs(splits(5, 4))[:10]  # More shuffles keep the first ones.


def test_each_shuffle_is_drawn_from_the_seed_and_its_number():
    """A search that goes on must split as before, whatever the version."""
    held_out = splits(4, 3, seed=7).held_out
    for repeat in range(3):
        order = np.random.default_rng([7, repeat]).permutation(20)
        expected = [sorted(part) for part in order.reshape(4, 5).tolist()]
        assert [rows.tolist() for rows in held_out[4 * repeat : 4 * repeat + 4]] == expected


def test_few_rows_are_shuffled_until_no_fold_recurs():
    for seed in range(20):
        found = splits(5, 4, x=Z[:10], y=X[:10], seed=seed)  # 20 pairs out of 45
        assert len({rows.tobytes() for rows in found.held_out}) == 20


def test_rows_that_have_too_few_different_folds_are_refused():
    with pytest.raises(ValueError, match=r"4 rows have too few different splits into 2 .*repeats"):
        splits(2, 4, x=Z[:4], y=X[:4])
    assert splits(2, 3, x=Z[:4], y=X[:4]).count == 6  # All there are.


def test_folds_of_one_row_go_with_one_shuffle():
    with pytest.raises(ValueError, match="repeats=1"):
        splits(20)
    assert splits(20, 1).mean_ratio == pytest.approx(1 / 19)


@pytest.mark.parametrize(
    ("cv", "repeats", "error", "message"),
    [
        (1, None, ValueError, "`cv` must be an integer >= 2"),
        (21, None, ValueError, "21 folds of 20 labelled rows"),
        (5, 0, ValueError, "`repeats` must be an integer >= 1"),
        (5, 2.0, TypeError, "`repeats` must be an integer >= 1"),
        (True, None, TypeError, "Received: cv=True"),
        (5.0, None, TypeError, "an integer >= 2 .*, a splitter .* or a list of pairs"),
        ("kfold", None, TypeError, "Received: cv='kfold'"),
        (None, None, TypeError, "Received: cv=None"),
        ({0: 1}, None, TypeError, "list of pairs"),
    ],
)
def test_what_cv_may_not_be(cv, repeats, error, message):
    with pytest.raises(error, match=message):
        splits(cv, repeats)


# Splitters


@pytest.mark.parametrize(
    ("splitter", "groups", "label"),
    [
        (sk.KFold(4), None, "KFold(4)"),
        (sk.GroupKFold(5), GROUPS, "GroupKFold(5)"),
        (sk.LeaveOneGroupOut(), list(GROUPS), "LeaveOneGroupOut(5)"),
        (sk.TimeSeriesSplit(4), None, "TimeSeriesSplit(4)"),
        (sk.RepeatedKFold(n_splits=5, n_repeats=4, random_state=0), None, "RepeatedKFold(20)"),
        (sk.ShuffleSplit(7, random_state=0), None, "ShuffleSplit(7)"),
    ],
    ids=["KFold", "GroupKFold", "LeaveOneGroupOut", "TimeSeries", "RepeatedKFold", "ShuffleSplit"],
)
def test_splitters_of_scikit_learn(splitter, groups, label):
    found = splits(splitter, groups=groups)
    expected = [
        (sorted(train.tolist()), sorted(held_out.tolist()))
        for train, held_out in splitter.split(Z, X, groups)
    ]
    assert pairs(found) == expected
    assert (found.label, found.count) == (label, len(expected))


def test_training_parts_may_differ_in_size():
    found = splits(sk.TimeSeriesSplit(4))
    assert [len(rows) for rows in found.train] == [4, 8, 12, 16]
    assert found.mean_ratio == pytest.approx(np.mean([4 / 4, 4 / 8, 4 / 12, 4 / 16]))


def test_any_object_with_split_serves():
    class Halves:
        def split(self, x, y, groups):
            assert x.shape == (20, 3)
            assert y.shape == (20, 2)
            assert groups is None
            rows = range(len(x))
            yield rows[:10], rows[10:]
            yield rows[10:], rows[:10]

    assert splits(Halves()).label == "Halves(2)"
    assert splits(Halves(), x=tf.constant(Z)).count == 2


@pytest.mark.parametrize(
    "x", [{"a": Z, "b": Z[:, 0]}, [Z, Z], (Z, tf.constant(Z))], ids=["dict", "list", "tuple"]
)
@pytest.mark.parametrize("cv", [5, sk.KFold(5)], ids=["integer", "splitter"])
def test_structures_of_arrays(cv, x):
    found = splits(cv, x=x, y={"first": X, "second": X})
    assert sorted(np.concatenate(found.held_out[:5])) == list(range(20))


def test_labels_may_be_none():
    assert splits(sk.KFold(5), y=None).count == splits(5, 1, y=None).count == 5


@pytest.mark.parametrize(
    ("splitter", "repeats", "groups", "message"),
    [
        (sk.GroupKFold(5), None, None, r"GroupKFold\.split.* failed .*`groups=`, of shape"),
        (sk.StratifiedKFold(5), None, None, "needs classes, .* an integer `cv`"),
        (sk.KFold(30), None, None, "KFold.* failed on these 20 rows: .*30"),
        (sk.KFold(5), 4, None, "`repeats` goes with an integer `cv` only"),
        (sk.KFold(5, shuffle=True), None, GROUPS, "same group on both sides: .*GroupKFold"),
        (sk.ShuffleSplit(1), None, None, "1 split: .*20 are advised"),
        (sk.GroupKFold(5), None, GROUPS[:-1], r"shape \(20,\)\. Received: groups of shape \(19,\)"),
    ],
    ids=["no groups", "real labels", "folds", "repeats", "groups ignored", "one", "length"],
)
def test_splitters_that_cannot_serve(splitter, repeats, groups, message):
    with pytest.raises(ValueError, match=message):
        splits(splitter, repeats, groups)


def test_a_class_in_place_of_a_splitter_is_named():
    with pytest.raises(TypeError, match=r"give an instance, `GroupKFold\(\)`"):
        splits(sk.GroupKFold, groups=GROUPS)


def test_an_integer_with_groups_names_the_splitter_to_use():
    with pytest.raises(ValueError, match=r"`cv=sklearn.model_selection.GroupKFold\(\)`"):
        splits(5, groups=GROUPS)


# Pairs of row numbers


def test_pairs_may_come_from_anything_that_can_be_iterated_over():
    expected = [([2, 3], [0, 1]), ([0, 1], [2, 3])]
    for cv in (
        [([3, 2], [1, 0]), ([0, 1], [2, 3])],
        ((np.array(a, "int32"), np.array(b, "uint8")) for a, b in expected),
        [(range(2, 4), range(2)), (range(2), (2, 3))],
    ):
        found = splits(cv)
        assert pairs(found) == expected
        assert found.label == "2 splits given"


GOOD = ([0, 1], [2, 3])
MASK = np.arange(20) < 10


@pytest.mark.parametrize(
    ("pair", "error", "message"),
    [
        (([0, 1, 2], [2, 1]), ValueError, r"split 1 trains on rows that it holds out: \[1, 2\]"),
        (([], [2]), ValueError, "training rows of split 1 are empty"),
        (([2], np.array([])), ValueError, "held-out rows of split 1 are empty"),
        (([0, 20], [2]), ValueError, r"training rows of split 1 .* 0 to 19, .* \[20\]"),
        (([0], [-1]), ValueError, r"held-out rows of split 1 .* 0 to 19, .*\[-1\]"),
        (([0.0], [1]), TypeError, "training rows of split 1 .*integers.*float64"),
        ((["a"], [1]), TypeError, "training rows of split 1 .*integers"),
        ((MASK, ~MASK), TypeError, r"training rows of split 1 .*`np\.flatnonzero\(mask\)`"),
        (([0, 0], [1]), ValueError, r"more than once: \[0\]\. .*np\.unique"),
        (([[0, 1]], [2]), TypeError, r"one-dimensional .* shape \(1, 2\)"),
        (([0], [1], [2]), ValueError, "Split 1 is not a pair"),
        (3, ValueError, "Split 1 is not a pair .*Received: 3"),
        (GOOD, ValueError, "splits 0 and 1 are equal: .*shuffle=True"),
        (([1, 0], [3, 2]), ValueError, "splits 0 and 1 are equal"),
    ],
    ids=[
        "both sides",
        "no training rows",
        "no held-out rows",
        "beyond the end",
        "negative",
        "floats",
        "text",
        "masks",
        "twice",
        "two dimensions",
        "three parts",
        "a number",
        "equal",
        "equal in another order",
    ],
)
def test_pairs_that_cannot_serve(pair, error, message):
    with pytest.raises(error, match=message):
        splits([GOOD, pair])


def test_folds_in_repeats_without_a_shuffle_are_equal():
    repeated = [pair for _ in range(2) for pair in sk.KFold(5).split(Z)]
    with pytest.raises(ValueError, match=r"splits 0 and 5 are equal: .*RepeatedKFold"):
        splits(repeated)


def test_one_pair_alone_is_refused():
    with pytest.raises(ValueError, match="1 split: one split does not show"):
        splits([GOOD])
    with pytest.raises(ValueError, match="`cv` must not be empty"):
        splits([])


def test_pairs_must_keep_given_groups_apart():
    assert splits([GOOD, ([4], [8])], groups=[0, 0, 1, 1, *range(2, 18)]).count == 2
    with pytest.raises(ValueError, match=r"split 1 has rows of the same group .*: \['a'\]"):
        splits([GOOD, ([4], [5])], groups=list("bbccaa") + ["d"] * 14)


def test_many_wrong_rows_are_shown_in_part():
    with pytest.raises(ValueError, match=r"Received: \[20, 21, 22, 23, 24, \.\.\.\]"):
        splits([GOOD, (range(20, 40), [0])])


def test_rows_that_differ_between_x_and_y_are_refused():
    with pytest.raises(ValueError, match=r"same number of rows.*\(20, 3\), \(19, 2\)"):
        splits(5, y=X[:-1])


# Files


def test_splits_go_through_json():
    found = splits(sk.TimeSeriesSplit(4))
    again = Splits.from_dict(json.loads(json.dumps(found.to_dict())))
    assert pairs(again) == pairs(found)
    assert (again.label, again.rows, again.mean_ratio) == (
        found.label,
        found.rows,
        found.mean_ratio,
    )
    assert again.train[0].dtype == np.int64
