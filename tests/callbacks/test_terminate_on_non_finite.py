import keras
import numpy as np
import pytest
from keras import ops

import keras_physreg as kp
from keras_physreg.inspection import find_terms
from keras_physreg.layers.evaluation import TermValue
from tests.diagnosis.linear import data, linear_model, unbuilt_model
from tests.variants import slow_but

REWRITTEN_GRAPHS = "slow"
BAD = 40  # The row that makes the physics NaN: batch 4 of ten rows each.


def rows():
    z, x = data(80)
    z[:, 2] = 1.0
    z[BAD, 2] = -1.0
    return z, x


def root(z, x):
    return {"root": x[:, 0] + ops.sqrt(z[:, 2]), "fine": x[:, 1] - z[:, 0]}


def model_with_root(weight=0.5, cls=kp.PhysicsModel, **compile_args):
    model = linear_model(root, {"fine": 1.0, "root": weight}, cls)
    model.compile("adam", "mse", **compile_args)
    return model


def fit(model, callback, epochs=3):
    z, x = rows()
    return model.fit(
        z, x, batch_size=10, epochs=epochs, shuffle=False, callbacks=[callback], verbose=0
    )


@pytest.mark.parametrize("cls", [kp.PhysicsModel, keras.Model])
def test_stops_at_the_first_bad_step_and_says_which(cls):
    model, stop = model_with_root(cls=cls), kp.TerminateOnNonFinite()
    steps = []
    count = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: steps.append(batch)
    )
    z, x = rows()
    message = (
        r"'root' is nan at epoch 0, batch 4; its weight is 0.5, and its last finite value was "
        r"\d+\.\d+\. Training stops\.$"
    )
    with pytest.warns(RuntimeWarning, match=message):
        model.fit(z, x, batch_size=10, shuffle=False, callbacks=[stop, count], verbose=0)
    assert steps == [0, 1, 2, 3, 4]
    assert (stop.stopped_term, stop.stopped_epoch, stop.stopped_batch) == ("root", 0, 4)
    assert not np.isfinite(model.get_weights()[0]).all()


EXECUTIONS = {"graph": {}, "eager": {"run_eagerly": True}, "jit": {"jit_compile": True}}


@pytest.mark.parametrize("execution", slow_but({"graph"}, EXECUTIONS))
def test_restores_the_last_finite_step_of_model_and_optimizer(execution):
    z, x = rows()
    compile_args = EXECUTIONS[execution]
    good = model_with_root(**compile_args)
    good.fit(z[:BAD], x[:BAD], batch_size=10, shuffle=False, verbose=0)
    stopped = model_with_root(**compile_args)
    with pytest.warns(RuntimeWarning, match=r"are restored to the last finite step"):
        fit(stopped, kp.TerminateOnNonFinite(restore_weights=True))
    for a, b in zip(good.weights, stopped.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    for a, b in zip(good.optimizer.variables, stopped.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_restores_the_first_weights_when_the_first_step_is_bad():
    z, x = rows()
    model = model_with_root()
    before = model.get_weights()
    with pytest.warns(RuntimeWarning, match="it was never finite"):
        model.fit(z[BAD:], x[BAD:], callbacks=[kp.TerminateOnNonFinite(True)], verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(np.isfinite(v.numpy()).all() for v in model.optimizer.variables)


def test_restores_weights_that_are_finite_where_only_the_gradient_was_not():
    def root_of_zero(z, x):
        return 1.0 + ops.sqrt(ops.abs(x * ops.cast(z[:, 2:] < 0, x.dtype)))

    model = linear_model(root_of_zero, {"t": 1.0})
    before = model.get_weights()
    with pytest.warns(RuntimeWarning, match="'t' is nan at epoch 0, batch 1.* failed at once"):
        fit(model, kp.TerminateOnNonFinite(restore_weights=True))
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_term_at_weight_0_is_reported_once_and_does_not_stop():
    model, stop = model_with_root(weight=0.0), kp.TerminateOnNonFinite()
    with pytest.warns(
        RuntimeWarning, match="'root' is nan at epoch 0, batch 4; its weight is 0"
    ) as w:
        history = fit(model, stop)
    assert len(w) == 1
    assert len(history.epoch) == 3
    assert stop.stopped_term is None
    assert np.isfinite(model.get_weights()[0]).all()


@pytest.mark.slow
def test_a_weight_raised_after_a_bad_step_stops_only_at_the_next_one():
    model, stop = model_with_root(weight=0.0), kp.TerminateOnNonFinite()

    def raise_weight(batch, logs):
        kp.set_term_weights(model, {"root": 0.5 if batch == 6 else 0.0})

    z, x = rows()
    steer = keras.callbacks.LambdaCallback(on_train_batch_begin=raise_weight)
    with pytest.warns(RuntimeWarning, match="Training continues without it"):
        history = model.fit(
            z, x, batch_size=10, epochs=2, shuffle=False, callbacks=[steer, stop], verbose=0
        )
    assert (stop.stopped_term, len(history.epoch)) == (None, 2)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.slow
def test_data_loss_alone():
    z, x = rows()
    z[:, 2] = 1.0
    x[BAD] = np.inf
    model, stop = model_with_root(), kp.TerminateOnNonFinite()
    with pytest.warns(RuntimeWarning, match="all terms .* are finite: check the data loss"):
        model.fit(z, x, batch_size=10, shuffle=False, callbacks=[stop], verbose=0)
    assert (stop.stopped_term, stop.stopped_batch) == ("data", 4)


@pytest.mark.slow
@pytest.mark.parametrize("cls", slow_but({kp.PhysicsModel}, [kp.PhysicsModel, keras.Model]))
def test_a_model_that_its_first_step_builds(cls):
    z, x = rows()

    def built(stop_after=None):
        model = unbuilt_model(cls, lambda z, x: x + ops.sqrt(z[:, 2:]))
        callbacks = [] if stop_after is None else [stop_after]
        count = BAD if stop_after is None else len(z)
        model.fit(
            z[:count], x[:count], batch_size=10, shuffle=False, callbacks=callbacks, verbose=0
        )
        return model

    good, stop = built(), kp.TerminateOnNonFinite(restore_weights=True)
    with pytest.warns(RuntimeWarning, match="are restored to the last finite step"):
        stopped = built(stop)
    assert stop.stopped_batch == 4
    for a, b in zip(good.weights, stopped.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.slow
def test_nothing_to_go_back_to_where_the_step_that_builds_the_model_is_bad():
    z, x = rows()
    model = unbuilt_model(physics=lambda z, x: x + ops.sqrt(-1.0 - x**2))
    with pytest.warns(RuntimeWarning, match=r"Training stops\.$"):
        model.fit(z, x, callbacks=[kp.TerminateOnNonFinite(restore_weights=True)], verbose=0)


def infinite_slope(y, x):
    return ops.sqrt(ops.abs(0 * x)) + ops.square(y - x)


@pytest.mark.slow
def test_none_is_to_blame_where_all_fail_at_once():
    z, x = rows()
    z[:, 2] = 1.0
    by_slope = linear_model(root, {"fine": 1.0, "root": 0.5}, loss=infinite_slope)
    stop = kp.TerminateOnNonFinite()
    with pytest.warns(RuntimeWarning, match="the weights, the inputs or the labels are not finite"):
        by_slope.fit(z, x, batch_size=10, callbacks=[stop], verbose=0)
    assert (stop.stopped_term, stop.stopped_batch) == (None, 1)
    z[BAD] = np.nan
    with pytest.warns(RuntimeWarning, match="failed at once"):
        model_with_root(cls=keras.Model).fit(
            z, x, batch_size=10, shuffle=False, callbacks=[stop], verbose=0
        )
    assert (stop.stopped_term, stop.stopped_batch) == (None, 4)


@pytest.mark.slow
def test_steps_per_execution():
    model, stop = model_with_root(steps_per_execution=3), kp.TerminateOnNonFinite(True)
    with pytest.warns(RuntimeWarning, match=r"epoch 0, batch 5"):
        fit(model, stop)
    assert model.optimizer.iterations.numpy() == 3


@pytest.mark.slow
def test_a_healthy_training_is_left_alone():
    z, x = rows()
    z[:, 2] = 1.0
    stop = kp.TerminateOnNonFinite(restore_weights=True)
    watched, free = model_with_root(), model_with_root()
    for model, callbacks in ((watched, [stop]), (free, [])):
        model.fit(z, x, epochs=3, callbacks=callbacks, verbose=0)
    for a, b in zip(watched.get_weights(), free.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert stop.stopped_term is None


def test_a_model_without_terms_is_refused():
    z, x = rows()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"keras\.callbacks\.TerminateOnNaN"):
        model.fit(z, x, callbacks=[kp.TerminateOnNonFinite()], verbose=0)


@pytest.mark.parametrize("value", ["no", 1, None, np.ones(1)])
def test_restore_weights_must_be_a_boolean(value):
    with pytest.raises(TypeError, match="`restore_weights` must be True or False"):
        kp.TerminateOnNonFinite(restore_weights=value)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_the_mean_of_no_rows_stops_nothing(weight):
    """A term without rows so far has no mean, and is not reported; a row of NaN is."""
    model, stop = model_with_root(weight), kp.TerminateOnNonFinite()
    stop.set_model(model)
    stop.on_train_begin()
    stop.on_epoch_begin(0)
    logs = {"loss": 1.0, "data_loss": 1.0, "fine_loss": 1.0, "root_loss": np.nan}
    stop.on_train_batch_end(0, logs)
    assert (stop.stopped_term, model.stop_training) == (None, False)
    (layer,) = {*find_terms(model).values()}
    layer.track([TermValue(name, np.float32(np.nan), 0.0) for name in ("fine", "root")], 10)
    with pytest.warns(RuntimeWarning, match="'root' is nan at epoch 0, batch 1"):
        stop.on_train_batch_end(1, logs)
    assert stop.stopped_term == ("root" if weight else None)


def root_of_some(z, x):
    return {"root": ops.sqrt(z[:, 1] + 0 * x[:, 0])[z[:, 2] < 0], "fine": x[:, 1] - z[:, 0]}


@pytest.mark.slow
@pytest.mark.parametrize(("weight", "cls"), [(0.0, keras.Model), (0.5, kp.PhysicsModel)])
def test_batches_of_which_the_physics_selects_no_rows(weight, cls):
    """Selects only the row `BAD`: the first four batches have no selected row."""
    z, x = rows()
    z[BAD, 1] = 4.0
    model = linear_model(root_of_some, {"fine": 1.0, "root": weight}, cls)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    stop = kp.TerminateOnNonFinite()
    fit_args = {"batch_size": 10, "shuffle": False, "callbacks": [stop], "verbose": 0}
    history = model.fit(z, x, epochs=2, **fit_args).history
    assert stop.stopped_term is None
    assert np.isfinite(history["loss"]).all()
    np.testing.assert_allclose(history["root_loss"], [4.0, 4.0], rtol=1e-6)
    z[BAD, 1] = -4.0
    with pytest.warns(RuntimeWarning, match="'root' is nan at epoch 0, batch 4"):
        model.fit(z, x, **fit_args)
    assert stop.stopped_term == ("root" if weight else None)
