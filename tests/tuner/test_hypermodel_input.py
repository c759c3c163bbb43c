"""What PhysicsHyperModel refuses, and that a plain tuner does not swallow it."""

import copy
import shutil

import keras
import keras_tuner
import numpy as np
import pytest
from keras_tuner.errors import FatalTypeError, FatalValueError

import keras_physreg as kp
from tests import problems
from tests.tuner.searches import DATA, RANGES, Measured, build, search
from tests.variants import slow_but, slow_but_rows

Z = {"z": (0.1, 1.0)}


@pytest.mark.parametrize(
    ("weights", "error", "told"),
    [
        ({"z": (1.0, 0.1)}, ValueError, r"0 < low <= high.*\(1.0, 0.1\)"),
        ({"z": (0.0, 1.0)}, ValueError, "include_zero"),
        ({"z": (-1.0, 1.0)}, ValueError, "'z': `weight` must be 0"),
        ({"z": (np.nan, 1.0)}, ValueError, "finite"),
        ({"z": (1.0, np.inf)}, ValueError, "finite"),
        ({"z": (1e-40, 1.0)}, ValueError, "float32"),
        ({"z": ("a", 1.0)}, TypeError, "number"),
        ({"z": (True, 1.0)}, TypeError, "number"),
        ({"z": 1.0}, TypeError, r"\(low, high\)"),
        ({"z": (1.0, 2.0, 3.0)}, TypeError, r"\(low, high\)"),
        ({}, ValueError, "no term"),
        (["z"], TypeError, "sanity_sweep"),
        (None, TypeError, "sanity_sweep"),
    ],
)
def test_weights(weights, error, told):
    with pytest.raises(error, match=told):
        kp.PhysicsHyperModel(build, weights)


@pytest.mark.parametrize(
    ("ramps", "error", "told"),
    [
        ({"z": (5, 2)}, ValueError, "shortest <= longest"),
        ({"z": (-1, 2)}, ValueError, "0 <= shortest"),
        ({"z": 0}, ValueError, "longest >= 1"),
        ({"z": (0, 10, 0)}, ValueError, "step"),
        ({"z": (0.5, 2)}, TypeError, "whole epochs"),
        ({"z": True}, TypeError, "whole epochs"),
        ({"z": "long"}, TypeError, "whole epochs"),
        ({"z": np.array([1, 2])}, TypeError, "whole epochs"),
        ({"z": (1, None)}, TypeError, "whole epochs"),
        ({"x": (0, 2)}, ValueError, r"names \['x'\]"),
        ([("z", 2)], TypeError, "dict"),
    ],
)
def test_ramps(ramps, error, told):
    with pytest.raises(error, match=told):
        kp.PhysicsHyperModel(build, Z, ramps=ramps)


@pytest.mark.parametrize("include_zero", ["no", 0, None])
def test_include_zero_is_a_boolean(include_zero):
    with pytest.raises(TypeError, match="`include_zero` must be True or False"):
        kp.PhysicsHyperModel(build, Z, include_zero=include_zero)


def test_numbers_of_numpy():
    given = {"z": (np.float32(0.5), np.int64(2))}
    model = kp.PhysicsHyperModel(build, given, ramps={"z": (np.int64(2), np.int64(4))})
    hp = keras_tuner.HyperParameters()
    model.build(hp)
    assert hp.values["z_ramp"] == 2
    assert all(type(hp.values[name]) in (bool, int, float) for name in hp.values)


def test_a_build_that_cannot_be_called():
    with pytest.raises(TypeError, match="Received: build=3"):
        kp.PhysicsHyperModel(3, Z)


def uncompiled(hp):
    return problems.physics_model()


def without_physics(hp):
    model = problems.bare_model()
    model.compile("sgd", "mse")
    return model


def takes_the_name(hp):
    hp.Float("z_weight", 1.0, 2.0)
    return build(hp)


@pytest.mark.parametrize(
    ("builder", "weights", "error", "told"),
    [
        (lambda hp: None, Z, FatalTypeError, "model=None"),
        (lambda hp: keras.layers.Dense(1), Z, FatalTypeError, "compiled Keras model"),
        (uncompiled, Z, FatalValueError, "model.compile"),
        (without_physics, Z, FatalValueError, "no physics terms"),
        (build, {"zz": (0.1, 1.0)}, FatalValueError, r"named 'zz'.*Did you mean 'z'"),
        (takes_the_name, Z, FatalValueError, r"declares \['z_weight'\]"),
    ],
)
def test_what_is_built(builder, weights, error, told, tmp_path):
    """KerasTuner builds a model when the tuner is made, so that it is refused there."""
    model = kp.PhysicsHyperModel(builder, weights)
    with pytest.raises(error, match=told):
        keras_tuner.RandomSearch(model, objective=model.objective, directory=tmp_path)


def test_a_model_that_lacks_the_term_in_a_later_trial(tmp_path):
    def sometimes(hp):
        return (build if hp.Boolean("physics", default=True) else without_physics)(hp)

    model = kp.PhysicsHyperModel(sometimes, Z)
    with pytest.raises(FatalValueError, match="no physics terms"):
        search(keras_tuner.RandomSearch, model, tmp_path, max_trials=9)


@pytest.mark.parametrize("include_zero", [True, False])
def test_a_range_given_to_the_tuner(include_zero, tmp_path):
    model = kp.PhysicsHyperModel(Measured(), Z, include_zero=include_zero)
    space = keras_tuner.HyperParameters()
    space.Float("z_weight", 5.0, 6.0)
    with pytest.raises(FatalValueError, match=r"'z_weight', min_value: '5.0'.*hyperparameters="):
        search(keras_tuner.RandomSearch, model, tmp_path, hyperparameters=space)


OLD = {"weights": Z, "ramps": {"z": (0, 9)}}


@pytest.fixture(scope="module")
def old_search(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    model = kp.PhysicsHyperModel(Measured(), **OLD)
    search(keras_tuner.RandomSearch, model, folder, max_trials=1)
    return folder


@pytest.mark.parametrize(
    "changed",
    slow_but(
        [{"ramps": {"z": (0, 5)}}],
        [
            {"weights": {"z": (1.0, 100.0)}},
            {"include_zero": False},
            {"ramps": {"z": (0, 5)}},
            {"weights": {**Z, "x": (0.1, 1.0)}},
        ],
    ),
)
def test_a_folder_left_by_another_search(changed, old_search, tmp_path):
    shutil.copytree(old_search, tmp_path, dirs_exist_ok=True)
    model = kp.PhysicsHyperModel(Measured(), **{**OLD, **changed})
    with pytest.raises(FatalValueError, match="folder was left by another search"):
        search(keras_tuner.RandomSearch, model, tmp_path, max_trials=3)


def test_a_tuner_that_searches_over_given_hyperparameters_alone(tmp_path):
    space = keras_tuner.HyperParameters()
    space.Float("rate", 1e-3, 1e-2)
    given = {"hyperparameters": space, "tune_new_entries": False}
    model = kp.PhysicsHyperModel(Measured(), Z)
    with pytest.raises(FatalValueError, match=r"not search over \['z_on', 'z_weight'\]"):
        search(keras_tuner.RandomSearch, model, tmp_path, **given)


REFUSED = ["loss", "val_loss", "physics_loss", "val_physics_loss", "data_loss"]


@pytest.mark.parametrize("name", REFUSED)
def test_objectives_that_the_weights_decide(name):
    model = kp.PhysicsHyperModel(build, Z)
    objective = keras_tuner.Objective(name, "min")
    for given in (name, objective, [model.objective, objective]):
        with pytest.raises(FatalValueError, match=f"'{name}'.*smallest weights"):
            model.check_objective(given)
    oracle = keras_tuner.oracles.RandomSearchOracle([model.objective, objective])
    with pytest.raises(FatalValueError, match=f"'{name}'"):
        model.check_objective(oracle.objective)


def test_no_objective():
    with pytest.raises(FatalValueError, match=r"hypermodel\.objective"):
        kp.PhysicsHyperModel(build, Z).check_objective(None)


def test_a_loss_is_minimised():
    with pytest.raises(FatalValueError, match="minimised"):
        kp.PhysicsHyperModel(build, Z).check_objective(
            keras_tuner.Objective("val_data_loss", "max")
        )


def test_objectives_that_mean_something():
    model = kp.PhysicsHyperModel(build, Z)
    model.check_objective(model.objective)
    model.check_objective("val_mean_absolute_error")
    model.check_objective([model.objective, keras_tuner.Objective("val_z_loss", "min")])


@pytest.mark.parametrize(
    ("tuner", "fit", "told"),
    slow_but_rows(
        (0, 1, 2, 5),
        [
            ({"objective": "val_loss"}, {}, "'val_loss' contains the weighted terms"),
            ({"objective": None}, {}, "has no objective"),
            ({"objective": keras_tuner.Objective("val_mae", "min")}, {}, "does not log"),
            ({"optimizer": "sgd"}, {}, r"\['optimizer'\].*compiles each model again"),
            ({"loss": "mae"}, {}, r"\['loss'\]"),
            ({"metrics": ["mae"]}, {}, r"\['metrics'\]"),
            ({}, {"validation_data": None}, "validation_data"),
            ({}, {"validation_freq": 2}, "validation_freq=2"),
            ({}, {"epoch": 3}, "'epoch'"),
            ({}, {"batch_size": True}, "`batch_size` must be an integer >= 1"),
            ({}, {"validation_batch_size": 0}, "`validation_batch_size` must be .*=0"),
            ({}, {"epochs": "2"}, "`epochs` must be an integer"),
            ({}, {"sample_weight": np.full(20, "1")}, "`sample_weight` must hold numbers"),
            ({}, {"callbacks": [kp.WeightScheduler({"z": [0.1, 1.0]})]}, r"weights of \['z'\]"),
        ],
    ),
)
def test_a_search_without_meaning_ends_with_the_reason(tuner, fit, told, tmp_path):
    model = kp.PhysicsHyperModel(build, RANGES)
    with pytest.raises((FatalValueError, FatalTypeError), match=told):
        search(keras_tuner.RandomSearch, model, tmp_path, fit=fit, **tuner)


def test_an_own_fit_that_does_not_log_the_objective(tmp_path):
    class Own(Measured):
        def fit(self, hp, model, x, y, callbacks=None, **kwargs):
            return model.fit(x, y, verbose=0)

    with pytest.raises(FatalValueError, match="does not log"):
        search(keras_tuner.RandomSearch, kp.PhysicsHyperModel(Own(), Z), tmp_path)


@pytest.mark.slow
def test_an_own_fit_that_returns_a_number_needs_no_objective(tmp_path):
    class Own(Measured):
        def fit(self, hp, model, *args, **kwargs):
            return super().fit(hp, model)["val_data_loss"]

    model = kp.PhysicsHyperModel(Own(), Z)
    tuner = search(keras_tuner.RandomSearch, model, tmp_path, objective=None)
    assert tuner.oracle.get_best_trials(1)[0].score >= 1


class OwnFit(keras_tuner.HyperModel):
    """A `fit` of the user's own; what it does with the callbacks is told from outside."""

    def __init__(self, hand_on):
        super().__init__()
        self.hand_on = hand_on

    def build(self, hp):
        return build(hp)

    def fit(self, hp, model, *args, callbacks=None, **kwargs):
        return self.hand_on(model, callbacks, *args, **kwargs)


def dropped(model, callbacks, *args, **kwargs):
    return model.fit(*args, **kwargs)


def without_schedulers(model, callbacks, *args, **kwargs):
    kept = [c for c in callbacks if not isinstance(c, kp.WeightScheduler)]
    return model.fit(*args, callbacks=kept, **kwargs)


def loop_of_its_own(model, callbacks, x, y, **kwargs):
    return float(model.train_on_batch(x, y, return_dict=True)["data_loss"])


def of_a_clone(model, callbacks, *args, **kwargs):
    return build(keras_tuner.HyperParameters()).fit(*args, **kwargs)


RAMPED = {"weights": Z, "ramps": {"z": (3, 3)}, "include_zero": False}


@pytest.mark.slow
@pytest.mark.parametrize(
    "hand_on", slow_but({dropped}, [dropped, without_schedulers, loop_of_its_own, of_a_clone])
)
def test_ramps_that_never_ran_end_the_search(hand_on, tmp_path):
    model = kp.PhysicsHyperModel(OwnFit(hand_on), **RAMPED)
    objective = None if hand_on is loop_of_its_own else model.objective
    with pytest.raises(FatalValueError, match=r"ramps of \['z'\] never ran.*callbacks=callbacks"):
        search(keras_tuner.RandomSearch, model, tmp_path, objective=objective)


def handed_on(model, callbacks, *args, **kwargs):
    return model.fit(*args, callbacks=callbacks, **kwargs)


def copied(model, callbacks, *args, **kwargs):
    schedulers = [c for c in callbacks if isinstance(c, kp.WeightScheduler)]
    others = [c for c in callbacks if c not in schedulers]
    return model.fit(*args, callbacks=[*copy.deepcopy(schedulers), *others], **kwargs)


def in_a_list(model, callbacks, x, y, **kwargs):
    callbacks = keras.callbacks.CallbackList(callbacks, model=model)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    model.train_on_batch(x, y)
    callbacks.on_epoch_end(0, {})
    callbacks.on_train_end()
    return kp.get_term_weights(model)["z"]


@pytest.mark.slow
@pytest.mark.parametrize("hand_on", slow_but({copied}, [handed_on, copied, in_a_list]))
def test_ramps_that_ran(hand_on, tmp_path):
    model = kp.PhysicsHyperModel(OwnFit(hand_on), **RAMPED)
    objective = None if hand_on is in_a_list else model.objective
    tuner = search(keras_tuner.RandomSearch, model, tmp_path, objective=objective, max_trials=1)
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["COMPLETED"]
    if hand_on is in_a_list:
        assert tuner.oracle.trials["0"].score == pytest.approx(0.1)  # Where the ramp begins.


@pytest.mark.slow
def test_callbacks_may_be_dropped_where_a_trial_has_no_ramp(tmp_path):
    model = kp.PhysicsHyperModel(OwnFit(dropped), Z)
    tuner = search(keras_tuner.RandomSearch, model, tmp_path, max_trials=1)
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["COMPLETED"]


def test_ramps_that_never_ran_outside_of_a_search():
    model = kp.PhysicsHyperModel(OwnFit(dropped), **RAMPED)
    hp = keras_tuner.HyperParameters()
    with pytest.raises(FatalValueError, match="never ran"):
        model.fit(hp, model.build(hp), *DATA, epochs=1, verbose=0)
