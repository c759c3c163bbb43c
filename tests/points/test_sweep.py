"""A sweep with point sets: its trainings see them, and their loss may be the score."""

import pytest

import keras_physreg as kp
from tests.points import linear
from tests.unlabelled.linear import data

pytestmark = [pytest.mark.tensorflow, pytest.mark.usefixtures("quick")]
X, Y, _ = data()
HELD_OUT = {"pde": linear.points(6, 8)}
SMALL = {"weights": [0.3], "terms": ["pde"], "epochs": 2, "verbose": 0, "extend_to": 0}


@pytest.mark.slow
def test_loss_at_validation_points_is_the_score():
    model = linear.model()
    result = kp.sanity_sweep(
        *(model, X, Y),
        cv=2,
        repeats=1,
        seeds=1,
        points=linear.POINTS,
        validation_points=HELD_OUT,
        monitor="val_pde_loss",
        score="last",
        **SMALL,
    )
    sweep = result.terms["pde"]
    measured = sweep.measured
    assert (measured["score"] == measured["val_term_loss"]).all()
    # A fit of the first split and seed, at the weight that was swept.
    assert (measured["score"][1] < measured["score"][0]).all()
    assert sweep.floor is None


@pytest.mark.slow
def test_score_of_labelled_rows():
    result = kp.sanity_sweep(
        *(linear.model(), X[:12], Y[:12]),
        validation_data=(X[12:], Y[12:]),
        seeds=2,
        points=linear.POINTS,
        **SMALL,
    )
    assert result.terms["pde"].measured["score"].shape == (2, 2)


WRONG = {
    "no rows": ({"x": None, "y": None, "points": linear.POINTS}, "on labelled rows: give `x`"),
    "unknown": ({"points": {"pdf": X}}, "Did you mean 'pde'"),
    "monitor": (
        {"points": linear.POINTS, "monitor": "val_pde_loss"},
        "needs `validation_points` of term 'pde'",
    ),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_wrong_points(case):
    given, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        kp.sanity_sweep(linear.model(), **{"x": X, "y": Y, **SMALL, **given})
