"""Checks that `PhysicsModel.fit` sorts its callbacks and warns of moving objectives."""

import warnings

import keras
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.models.callback_order import arrange_callbacks
from tests.variants import slow_but

EarlyStopping = keras.callbacks.EarlyStopping
ModelCheckpoint = keras.callbacks.ModelCheckpoint
ReduceLROnPlateau = keras.callbacks.ReduceLROnPlateau

RAMP = kp.WeightScheduler({"x": kp.GeometricRamp(1e-10, 1.0, duration=8, begin=2)})
BY_STEP = kp.WeightScheduler({"x": kp.GeometricRamp(1e-10, 1.0, duration=8)}, unit="step")
STILL = kp.WeightScheduler({"x": [0.5]})


def messages(callbacks, epochs=20):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        arrange_callbacks(callbacks, epochs)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("monitor", ["loss", "val_loss"])
@pytest.mark.parametrize(
    "make",
    [
        EarlyStopping,
        ReduceLROnPlateau,
        lambda monitor: ModelCheckpoint("best.keras", monitor=monitor, save_best_only=True),
        lambda monitor: EarlyStopping(monitor, start_from_epoch=9),
    ],
    ids=["EarlyStopping", "ReduceLROnPlateau", "ModelCheckpoint", "EarlyStopping, late"],
)
@pytest.mark.parametrize("scheduler", [RAMP, BY_STEP], ids=["by epoch", "by step"])
def test_a_weighted_loss_under_a_moving_weight(make, monitor, scheduler):
    callback = make(monitor)
    for callbacks in ([callback, scheduler], [scheduler, [callback]]):
        (message,) = messages(callbacks)
        assert type(callback).__name__ in message
        assert f"monitors `{monitor}` while WeightScheduler changes the weights of ['x']" in message
        assert 'monitor="val_data_loss", mode="min"' in message
        assert ("start_from_epoch" in message) == isinstance(callback, EarlyStopping)


HARMLESS = {
    "the data loss": [EarlyStopping("val_data_loss", mode="min"), RAMP],
    "a term's loss": [EarlyStopping("val_x_loss", mode="min"), RAMP],
    "no scheduler": [EarlyStopping("val_loss")],
    "weights that stand still": [EarlyStopping("val_loss"), STILL],
    "after the ramp": [EarlyStopping("val_loss", start_from_epoch=10), RAMP],
    "after the ramp by step": [EarlyStopping("val_loss", start_from_epoch=20), BY_STEP],
    "every epoch is saved": [ModelCheckpoint("{epoch}.keras"), RAMP],
    "a scheduler alone": [RAMP],
    "an empty list": [],
    "nothing": None,
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_nothing_to_warn_of(kind):
    assert messages(HARMLESS[kind]) == []


def test_each_misreading_is_named():
    found = messages([EarlyStopping("loss"), ReduceLROnPlateau("val_loss"), RAMP, BY_STEP])
    assert len(found) == 2


def test_callbacks_that_add_to_the_logs_come_first():
    first, second, third = (keras.callbacks.Callback() for _ in range(3))
    arranged = arrange_callbacks([first, [second, RAMP], third, STILL], epochs=1)
    assert arranged == [RAMP, STILL, first, second, third]
    assert arrange_callbacks(first, epochs=1) == [first]


def test_a_callback_list_is_left_alone():
    callbacks = keras.callbacks.CallbackList([EarlyStopping("loss"), RAMP])
    with pytest.warns(UserWarning, match="EarlyStopping"):
        assert arrange_callbacks(callbacks, epochs=9) is callbacks


def model_and_data():
    z = keras.Input((2,))
    x = keras.layers.Dense(2)(z)
    terms = [kp.PhysicsTerm("x", "target")]
    model = kp.PhysicsModel(z, kp.PhysicsRegularization(lambda z, x: 2 * x, terms)(z, x))
    model.compile("sgd", "mse")
    return model, np.ones((4, 2), "float32"), np.ones((4, 2), "float32")


@pytest.mark.parametrize("positional", slow_but({True}, [False, True]))
def test_fit_warns_where_it_is_called(positional):
    model, x, y = model_and_data()
    callbacks = [EarlyStopping("val_loss"), RAMP]
    arguments = (x, y, 4, 5, 0, callbacks, 0.5) if positional else ()
    named = {"x": x, "y": y, "epochs": 5, "callbacks": callbacks, "validation_split": 0.5}
    with pytest.warns(UserWarning, match="val_data_loss") as caught:
        model.fit(*arguments, **({} if positional else named))
    assert caught[0].filename == __file__


def test_fit_without_callbacks_is_keras_fit():
    model, x, y = model_and_data()
    history = model.fit(x, y, verbose=0).history
    assert set(history) == {"loss", "data_loss", "physics_loss", "x_loss"}
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
        model.fit(x, y, epoch=3)


def test_a_resumed_run_whose_weights_stand_still_is_not_warned_of():
    callbacks = [RAMP, EarlyStopping("val_loss", mode="min")]
    assert messages(callbacks)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arrange_callbacks(callbacks, epochs=20, initial_epoch=12)
