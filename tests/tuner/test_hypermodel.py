"""PhysicsHyperModel under plain KerasTuner tuners: the space, the weights, the ramps."""

import contextlib
import io
from types import SimpleNamespace

import keras
import keras_tuner
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.schedules import GeometricRamp
from keras_physreg.tuner.space import term_spaces
from tests import problems
from tests.tuner.searches import DATA, HELD_OUT, RANGES, Measured, build, search
from tests.variants import slow_but

NAMES = ["rate", "x_on", "x_weight", "x_ramp", "z_on", "z_weight", "z_ramp"]
TUNERS = {
    "RandomSearch": {"max_trials": 2, "executions_per_trial": 2},
    "BayesianOptimization": {"max_trials": 3, "num_initial_points": 2},
    "Hyperband": {"max_epochs": 3, "factor": 3},
}


def compiled(hp):
    model = problems.physics_model()
    model.compile("adam", "mse")
    return model


class Recorder(keras.callbacks.Callback):
    """Notes the term weights at which each epoch trains; KerasTuner copies its callbacks."""

    trials: list = []  # noqa: RUF012
    first_steps: list = []  # noqa: RUF012

    def on_train_begin(self, logs=None):
        self.trials.append([])
        self.first_steps.append(int(self.model.optimizer.iterations.numpy()))

    def on_train_batch_begin(self, batch, logs=None):
        self.trials[-1].append(kp.get_term_weights(self.model))


@pytest.fixture
def recorder():
    Recorder.trials, Recorder.first_steps = [], []
    return Recorder()


def hypermodel(**kwargs):
    return kp.PhysicsHyperModel(build, RANGES, ramps={"x": (0, 3)}, **kwargs)


def trials_of(tuner):
    return [tuner.oracle.trials[trial_id] for trial_id in tuner.oracle.start_order]


def names_of(tuner):
    return [hp.name for hp in tuner.oracle.get_space().space]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", slow_but({"RandomSearch"}, TUNERS))
def test_a_whole_search(kind, tmp_path, recorder):
    """The ramp of z has ten epochs, also where Hyperband trains one, or goes on after one."""
    model = kp.PhysicsHyperModel(build, RANGES, ramps={"x": (0, 3), "z": 10})
    tuner_class = getattr(keras_tuner, kind)
    given = {"objective": model.objective, "directory": tmp_path, "seed": 1}
    tuner = tuner_class(model, **given, **TUNERS[kind])
    assert names_of(tuner) == NAMES
    tuner.search(
        *DATA, validation_data=HELD_OUT, batch_size=20, epochs=3, verbose=0, callbacks=[recorder]
    )
    trials = trials_of(tuner)
    assert {trial.status for trial in trials} == {"COMPLETED"}
    resumed = [t for t in trials if t.hyperparameters.values.get("tuner/initial_epoch")]
    assert bool(resumed) == (kind == "Hyperband")
    executions = TUNERS[kind].get("executions_per_trial", 1)
    assert len(trials) * executions == len(Recorder.trials)
    assert {"rate", "x_on", "z_on"} <= set(trials[0].hyperparameters.values)
    for trial, trained in zip(np.repeat(trials, executions), Recorder.trials, strict=True):
        hp = trial.hyperparameters
        first = hp.values.get("tuner/initial_epoch", 0)
        assert len(trained) == hp.values.get("tuner/epochs", 3) - first
        expected = model.schedules(hp)
        for name, schedule in expected.items():
            at = schedule if callable(schedule) else lambda epoch, weight=schedule: weight
            weights = [at(epoch) for epoch in range(first, first + len(trained))]
            np.testing.assert_allclose([w[name] for w in trained], weights, rtol=1e-6)
    # The optimizer goes on, too: a resumed trial has had one epoch of one step.
    assert Recorder.first_steps == [int(t in resumed) for t in trials for _ in range(executions)]
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        tuner.results_summary()
    assert "x_on" in shown.getvalue()
    assert tuner.get_best_models(1)[0].compiled


@pytest.mark.slow
def test_a_search_in_compiled_graphs(tmp_path):
    model = kp.PhysicsHyperModel(compiled, {"z": (1e-2, 10.0)}, include_zero=False)
    tuner = search(keras_tuner.RandomSearch, model, tmp_path, max_trials=1)
    best = tuner.get_best_hyperparameters()[0]
    weights = kp.get_term_weights(tuner.get_best_models(1)[0])
    assert weights["x"] == 0.5  # As built: the term is left out.
    assert weights["z"] == pytest.approx(best["z_weight"], rel=1e-6)


def test_the_grid_is_finite_and_tries_off_once(tmp_path):
    model = kp.PhysicsHyperModel(compiled, {"z": (1e-2, 10.0)})
    tuner = keras_tuner.GridSearch(model, objective=model.objective, directory=tmp_path)
    values = []
    while (trial := tuner.oracle.create_trial("tuner0")).status == "RUNNING":
        values.append(trial.hyperparameters.values)
        tuner.oracle.update_trial(trial.trial_id, {"val_data_loss": 1.0})
        trial.status = "COMPLETED"
        tuner.oracle.end_trial(trial)
    weights = sorted(v["z_weight"] for v in values if v["z_on"])
    assert len(values) == 12
    np.testing.assert_allclose(weights, [1e-2, *np.geomspace(1e-2, 10, 21)[1::2]])


def test_random_weights_are_spread_evenly_over_decades(tmp_path):
    model = kp.PhysicsHyperModel(build, {"z": (1e-8, 1e4)})
    given = {"objective": model.objective, "directory": tmp_path}
    tuner = keras_tuner.RandomSearch(model, max_trials=200, seed=1, **given)
    tuner.oracle.verbose = 0
    values = [tuner.oracle.create_trial(f"{k}").hyperparameters.values for k in range(200)]
    exponents = np.log10([v["z_weight"] for v in values if v["z_on"]])
    assert 70 < len(exponents) < 130
    counts, _ = np.histogram(exponents, bins=3, range=(-8, 4))
    assert counts.sum() == len(exponents)
    assert counts.min() > 15


def test_the_names_of_its_hyperparameters():
    assert hypermodel().hyperparameter_names == {*NAMES} - {"rate", "z_ramp"}
    assert hypermodel(include_zero=False).hyperparameter_names == {"x_weight", "x_ramp", "z_weight"}
    off = kp.PhysicsHyperModel(build, {"x": None, "z": (1.0, 1.0)}, include_zero=False)
    assert off.hyperparameter_names == {"z_weight"}


def test_what_a_trial_does_with_each_term():
    model = hypermodel()
    hp = keras_tuner.HyperParameters()
    model.build(hp)
    hp.values.update(x_weight=0.5, x_ramp=2, z_on=False)
    hp.ensure_active_values()
    assert model.schedules(hp) == {"x": GeometricRamp(1e-3, 0.5, duration=2), "z": 0.0}
    assert kp.get_term_weights(model.build(hp)) == {"x": 0.5, "z": 0.0}
    hp.values.update(x_ramp=0)
    assert model.schedules(hp) == {"x": 0.5, "z": 0.0}


def test_a_term_that_is_off_has_no_ramp_to_search():
    hp = keras_tuner.HyperParameters()
    (space,) = term_spaces({"z": (0.1, 1.0)}, {"z": (1, 4)}, include_zero=True)
    space.declare(hp)
    assert hp.is_active("z_weight")
    assert hp.is_active("z_ramp")
    hp.values["z_on"] = False
    assert not hp.is_active("z_weight")
    assert not hp.is_active("z_ramp")


def test_the_ranges_of_a_sweep():
    result = object.__new__(kp.SweepResult)
    ranges = {"x": None, "z": (0.1, 10.0)}
    verdicts = {name: SimpleNamespace(search_range=given) for name, given in ranges.items()}
    vars(result)["verdicts"] = verdicts
    for constants_only, x in (([], 0.0), (["x"], 0.5)):
        vars(result)["settings"] = SimpleNamespace(constants_only=constants_only)
        model = kp.PhysicsHyperModel(build, result)
        hp = keras_tuner.HyperParameters()
        assert kp.get_term_weights(model.build(hp)) == {"x": x, "z": pytest.approx(0.1)}
        assert [h.name for h in hp.space] == ["rate", "z_on", "z_weight"]


def test_a_sweep_that_found_nothing_is_told():
    with pytest.warns(UserWarning, match=r"\['x', 'z'\].*held at 0"):
        kp.PhysicsHyperModel(build, {"x": None, "z": None})


def test_the_fit_and_the_declarations_of_a_hypermodel_are_used(tmp_path):
    class Own(Measured):
        def declare_hyperparameters(self, hp):
            hp.Int("rows", 4, 8)

        def fit(self, hp, model, x, y, callbacks=None, **kwargs):
            assert len(callbacks) >= 2
            return model.fit(x[: hp["rows"]], y[: hp["rows"]], callbacks=callbacks, **kwargs)

    model = kp.PhysicsHyperModel(Own(), RANGES)
    tuner = search(keras_tuner.RandomSearch, model, tmp_path, max_trials=1)
    assert names_of(tuner)[0] == "rows"
    assert trials_of(tuner)[0].status == "COMPLETED"


def test_a_ramp_outside_of_a_search():
    """As one trains with the best hyperparameters on all rows: no validation data is needed."""
    model = hypermodel()
    hp = keras_tuner.HyperParameters()
    trained = model.build(hp)
    hp.values.update(x_weight=0.1, x_ramp=2)
    history = model.fit(hp, trained, *DATA, epochs=3, verbose=0)
    np.testing.assert_allclose(history.history["x_weight"], [1e-3, 1e-2, 1e-1], rtol=1e-6)


def test_the_same_hyperparameters_through_the_wire():
    """A chief sends hyperparameters as protocol buffers, which know types and order otherwise."""
    model = hypermodel()
    hp = keras_tuner.HyperParameters()
    model.build(hp)
    hp.values.update(x_weight=0.123456789123456, x_ramp=2, z_on=False)
    hp.ensure_active_values()
    with contextlib.redirect_stdout(io.StringIO()):
        received = keras_tuner.HyperParameters.from_proto(hp.to_proto())
    assert model.schedules(received) == model.schedules(hp)
    assert received.values == hp.values


def test_unlabelled_rows_reach_the_fit_of_a_trial(tmp_path):
    class Seen(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            z_losses.append(logs["z_loss"])

        def __deepcopy__(self, memo):
            return Seen()

    z_losses = []
    # Rows of another scale than the labelled ones: they show in the label-free term.
    more = {"unlabelled": 1e3 * problems.data(50, seed=2)[0], "unlabelled_batch_size": 40}
    fit = {"callbacks": [Seen()], "epochs": 1, **more}
    tuner = search(keras_tuner.RandomSearch, hypermodel(), tmp_path, max_trials=1, fit=fit)
    assert [trial.status for trial in trials_of(tuner)] == ["COMPLETED"]
    assert min(z_losses) > 1e3
