"""The function of a term sees the points of this term, and no other rows, everywhere."""

import keras
import keras_tuner
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from tests.variants import slow_but

REWRITTEN_GRAPHS = "slow"

pytestmark = [pytest.mark.tensorflow, pytest.mark.usefixtures("quick")]

# The equation holds for t > 0, on an odd number of rows. The ends of the interval are pairs: the
# first half of the rows against the second; there t < 0.
TIMES = np.linspace(0.5, 4.5, 45)
LAW = np.stack([np.sin(TIMES), TIMES], 1).astype("float32")
ENDS = np.stack([np.repeat([-1.0, 1.0], 20), -np.tile(np.linspace(1, 3, 20), 2)], 1)
POINTS = {"law": LAW, "ends": ENDS.astype("float32")}
HELD_OUT = {"law": LAW[::2], "ends": POINTS["ends"][::2]}
LABELLED = np.stack([np.ones(9), np.linspace(0.25, 0.45, 9)], 1).astype("float32")
ORDERS = {"odd rows first": ("law", "ends"), "pairs first": ("ends", "law")}
SEEN: dict[str, list[np.ndarray]] = {}


def noted(name, z):
    """Notes rows that come outside of a traced program."""
    if hasattr(z, "numpy"):
        SEEN.setdefault(name, []).append(z.numpy())


def law(z, u):
    noted("law", z)
    return u - ops.log(z[:, 1:])


def ends(z, u):
    noted("ends", z)
    half = ops.shape(u)[0] // 2
    return u[:half] - u[half:]


def level(z, u):
    noted("level", z)
    return u - ops.sqrt(0.5 - z[:, 1:])


FUNCTIONS = {"law": law, "ends": ends, "level": level}


def made(names, loss=None, constant=False, **compile_args):
    keras.utils.set_random_seed(2)
    SEEN.clear()
    physics = {name: FUNCTIONS[name] for name in names}
    if constant:
        physics["law"] = Law()
    z = keras.Input((2,))
    layer = kp.PhysicsRegularization(physics, dict.fromkeys(names, 0.5))
    model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(1)(z)))
    model.compile(keras.optimizers.SGD(0.01), loss, **compile_args)
    return model


class Law(keras.layers.Layer):
    """The law with an unknown factor."""

    def __init__(self):
        super().__init__()
        self.factor = kp.Constant(2.0, name="factor")

    def call(self, z, u):
        noted("law", z)
        return u - self.factor() * ops.log(z[:, 1:])


def losses(model, points):
    """The losses of both terms in NumPy."""
    kernel, bias = (v.numpy().astype("float64") for v in model.trainable_variables[:2])
    of_law, of_ends = (points[name] @ kernel + bias for name in ("law", "ends"))
    left, right = np.split(of_ends, 2)
    return {
        "law": np.mean((of_law - np.log(points["law"][:, 1:])) ** 2),
        "ends": np.mean((left - right) ** 2),
    }


def assert_own(*rows):
    """Every function has seen rows of its own, whole sets of points, and nothing else."""
    allowed = {**POINTS, "level": LABELLED}
    assert {"law", "ends"} <= SEEN.keys()
    for name, seen in SEEN.items():
        for z in seen:
            own = (z[:, None] == allowed[name][None]).all(-1).any(1)
            assert own.all(), (name, z)
            assert name == "level" or len(z) in (len(POINTS[name]), *rows)


def in_order(names):
    return {name: POINTS[name] for name in names}


@pytest.mark.parametrize("order", slow_but({"odd rows first"}, ORDERS))
def test_replicas_train_as_fit_does(order):
    names = ORDERS[order]
    given = {"points": in_order(names), "steps_per_epoch": 3, "epochs": 2, "verbose": 0}
    model = made(names)
    expected = losses(model, POINTS)
    logs = model.fit(**given | {"steps_per_epoch": 1, "epochs": 1}).history
    for name in names:
        assert logs[f"{name}_loss"][0] == pytest.approx(expected[name], rel=1e-5)
    logs = made(names).fit(**given).history
    trainer = kp.ReplicaTrainer(made(names), {"law": [0.0, 0.5]}, engine="stacked")
    history = trainer.fit(**given)
    assert_own()
    for key, values in logs.items():
        np.testing.assert_allclose(history.history[key][:, 1], values, rtol=1e-5)


@pytest.mark.slow
def test_replicas_beside_labelled_rows():
    model = made(("level", "law", "ends"), "mse")
    trainer = kp.ReplicaTrainer(model, {"law": [0.0, 0.5]}, engine="stacked")
    trainer.fit(LABELLED, LABELLED[:, :1], points=POINTS, epochs=2, verbose=0)
    assert_own()


def test_replicas_of_a_model_that_is_not_built():
    class Equation(kp.PhysicsModel):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dense(1)
            self.physics = kp.PhysicsRegularization(
                {"law": law, "ends": ends}, {"law": 0.5, "ends": 0.5}
            )

        def call(self, z):
            return self.physics(z, self.inner(z))

    SEEN.clear()
    model = Equation()
    model.compile("sgd", None)
    trainer = kp.ReplicaTrainer(model, {"law": [0.0, 0.5]}, engine="stacked")
    trainer.fit(points=POINTS, steps_per_epoch=2, verbose=0)
    assert_own()


@pytest.mark.slow
def test_batches_of_points():
    """Batches of pairs have an even number of rows; the law comes in batches of an odd number."""
    trainer = kp.ReplicaTrainer(made(("law", "ends")), {"law": [0.0, 0.5]}, engine="stacked")
    sizes = {"law": 7, "ends": 40}
    trainer.fit(points=POINTS, points_batch_size=sizes, steps_per_epoch=2, verbose=0)
    assert_own(7)


@pytest.mark.slow
@pytest.mark.parametrize("order", list(ORDERS))
def test_sweep_on_points_alone(order):
    names = ORDERS[order]
    given = {"points": in_order(names), "validation_points": HELD_OUT, "steps_per_epoch": 3}
    given["others"] = "keep"
    result = kp.sanity_sweep(
        *(made(names),), weights=[0.3], seeds=1, epochs=2, verbose=0, extend_to=0, **given
    )
    assert set(result.terms) == {"law", "ends"}
    assert_own(len(HELD_OUT["law"]), len(HELD_OUT["ends"]))
    for sweep in result.terms.values():
        assert np.isfinite(sweep.measured["score"]).all()


@pytest.mark.slow
def test_search_beside_labelled_rows(tmp_path):
    hypermodel = kp.PhysicsHyperModel(
        lambda hp: made(("level", "law", "ends"), "mse"), {"law": (1e-2, 1.0)}, include_zero=False
    )
    objective = keras_tuner.Objective("val_data_loss", "min")
    oracle = keras_tuner.oracles.RandomSearchOracle(objective=objective, max_trials=2, seed=1)
    tuner = kp.ReplicaTuner(hypermodel, oracle, 2, directory=tmp_path, project_name="search")
    rows = LABELLED, LABELLED[:, :1]
    tuner.search(*rows, validation_data=rows, points=POINTS, epochs=1, verbose=0)
    assert tuner.oracle.get_best_trials(1)[0].status == "COMPLETED"
    assert_own()


@pytest.mark.parametrize("constant", [False, True], ids=["functions", "a constant"])
@pytest.mark.parametrize("order", slow_but({"odd rows first"}, ORDERS))
def test_diagnosis_on_points_alone(order, constant):
    names = ORDERS[order]
    model = made(names, constant=constant, run_eagerly=True)
    report = kp.diagnose(model, points=in_order(names))
    assert_own()
    if not constant:
        assert_found(report, model)
    assert not [finding for finding in report.findings if finding.severity == "error"]


@pytest.mark.parametrize("eager", slow_but({True}, [False, True]))
def test_diagnosis_beside_labelled_rows(eager):
    model = made(("level", "law", "ends"), "mse", run_eagerly=eager)
    report = kp.diagnose(
        model,
        LABELLED,
        LABELLED[:, :1],
        points=POINTS,
        validation_data=(LABELLED[:5], LABELLED[:5, :1]),
    )
    if eager:
        assert_own()
    assert_found(report, model)
    assert not [finding for finding in report.findings if finding.severity == "error"]


def assert_found(report, model):
    expected = losses(model, POINTS)
    for row in report.terms:
        if row.term in expected:
            assert row.here.loss == pytest.approx(expected[row.term], rel=1e-4)
            assert row.here.bad_row_count == 0


def test_a_few_points_that_carry_the_loss():
    points = {name: rows.copy() for name, rows in POINTS.items()}
    points["law"] = np.concatenate([LAW, LAW])
    points["law"][7, 1] = 1e-37
    model = made(("ends", "law"))
    kernel = model.trainable_variables[0]
    kernel.assign(ops.zeros_like(kernel))
    report = kp.diagnose(model, points=points)
    found = [finding for finding in report.findings if finding.code == "few-rows"]
    assert [finding.term for finding in found] == ["law"]
    assert "rows 7;" in found[0].message


@pytest.mark.parametrize("order", slow_but({"odd rows first"}, ORDERS))
def test_refinement(order):
    names = ORDERS[order]
    model = made(names, run_eagerly=True)
    before = losses(model, POINTS)
    done = kp.refine(model, points=in_order(names), iterations=5, verbose=0)
    after = losses(model, POINTS)
    assert_own()
    assert sum(after.values()) < sum(before.values())
    for name in names:
        assert done.history[f"{name}_loss"][-1] == pytest.approx(after[name], rel=1e-4)


def test_refinement_builds_the_model_on_points_of_each_term():
    class LateLaw(Law):
        """It cannot run on symbols: its first call on rows builds it."""

        def __init__(self):
            super().__init__()
            self.width = keras.layers.Dense(1)

        def call(self, z, u):
            float(ops.sum(z))
            return super().call(z, self.width(u))

    class Equation(kp.PhysicsModel):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dense(1)
            self.physics = kp.PhysicsRegularization(
                {"law": LateLaw(), "ends": ends, "level": level},
                {"law": 0.5, "ends": 0.5, "level": 0.5},
            )

        def call(self, z):
            return self.physics(z, self.inner(z))

    SEEN.clear()
    model = Equation()
    model.compile("sgd", "mse", run_eagerly=True)
    kp.refine(model, LABELLED, LABELLED[:, :1], points=POINTS, iterations=2, verbose=0)
    assert_own()


def test_check_of_rows_that_do_not_count():
    """The check before the training looks at the rows of each term alone."""

    def bad(z, u):
        noted("law", z)
        late = z[:, 1:] > 1
        return kp.on_rows(
            ops.where(late, 1, np.inf) * (u - z[:, 1:]) / ops.relu(z[:, 1:] - 1), late
        )

    physics = {"ends": ends, "law": bad}
    z = keras.Input((2,))
    SEEN.clear()
    layer = kp.PhysicsRegularization(physics, {"ends": 0.5, "law": 0.5})
    model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(1)(z)))
    model.compile("sgd", "mse", run_eagerly=True)
    with pytest.raises(ValueError, match=r"Rows or steps of physics term 'law' do not count"):
        model.fit(LABELLED, LABELLED[:, :1], points=POINTS, verbose=0)
