"""All schedules: the types of time, configuration, representation."""

import copy

import keras
import numpy as np
import pytest
from keras import ops

from keras_physreg import schedules as s
from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.schedules import (
    Chain,
    CosineRamp,
    GeometricRamp,
    GeometricStaircase,
    LinearRamp,
    Staircase,
)
from tests.layer_checks import check_config

RAMPS = [
    GeometricRamp(1e-10, 1.0, duration=80),
    GeometricRamp(1.0, 1e-10, duration=80, begin=7),
    GeometricRamp(1e-20, 10, duration=12.5, begin=2.25),
    GeometricRamp(0.3, 0.3, duration=5),
    LinearRamp(0, 2.0, duration=3),
    LinearRamp(1e-10, 1.0, duration=80, begin=20),
    LinearRamp(1.0, 1e-10, duration=90),
    CosineRamp(1e-10, 1.0, duration=80),
    CosineRamp(5.0, 0.0, duration=33, begin=33),
]
STAIRS = [
    Staircase([0.0, 1e-10, 1e-3, 1.0], every=10),
    Staircase([2.0], every=1.5, begin=0.5),
    GeometricStaircase(1e-10, 1.0, steps=11, every=7, begin=5),
    GeometricStaircase(1.0, 1e-10, steps=3, every=30),
]
CHAINS = [
    Chain([GeometricRamp(1e-10, 1.0, 40), CosineRamp(1.0, 0.1, 20, begin=5)], boundaries=[60]),
    Chain([Staircase([0], 1), LinearRamp(0, 1, 9), Staircase([0.5], 1)], boundaries=[20.5, 50]),
    Chain([Chain([Staircase([1], 1)], []), LinearRamp(1, 0, 9)], boundaries=[3]),
]
ALL = RAMPS + STAIRS + CHAINS
TIMES = np.arange(-3, 130)

each = pytest.mark.parametrize("schedule", ALL, ids=repr)
each_ramp = pytest.mark.parametrize("ramp", RAMPS, ids=repr)


@each
def test_a_number_gives_a_float(schedule):
    for time in (3, 3.0, np.int64(3), np.float32(3)):
        assert type(schedule(time)) is float
        assert schedule(time) == schedule(3)


@each
@pytest.mark.parametrize(
    "dtype",
    [
        "int32",
        "float32",
        *(pytest.param(d, marks=pytest.mark.tensorflow) for d in ("int64", "float64")),
    ],
)
def test_arrays_and_tensors_agree_with_numbers(schedule, dtype):
    expected = [schedule(int(time)) for time in TIMES]
    array = schedule(TIMES.astype(dtype))
    assert isinstance(array, np.ndarray)
    np.testing.assert_allclose(array, expected, rtol=1e-12)
    tensor = schedule(ops.convert_to_tensor(TIMES, dtype))
    assert keras.backend.standardize_dtype(tensor.dtype) == "float32"
    np.testing.assert_allclose(tensor, expected, rtol=1e-5)


@pytest.fixture(scope="module", params=[False, True], ids=["graph", "jit"])
def compiled(request):
    """The values of all schedules at `TIMES`, of one compiled function."""
    values = tf.function(lambda times: [s(times) for s in ALL], jit_compile=request.param)
    return dict(zip(ALL, values(ops.convert_to_tensor(TIMES)), strict=True))


@pytest.mark.tensorflow
@each
def test_compiled_agrees_with_numbers(schedule, compiled):
    expected = [schedule(int(time)) for time in TIMES]
    np.testing.assert_allclose(compiled[schedule], expected, rtol=1e-5)


@each
def test_shapes_are_kept(schedule):
    grid = np.arange(12).reshape(3, 4)
    assert schedule(grid).shape == (3, 4)
    assert schedule([[1, 2]]).shape == (1, 2)
    assert schedule(ops.convert_to_tensor(grid)).shape == (3, 4)
    assert schedule(keras.Variable(3, dtype="int32", trainable=False)).shape == ()


@each
def test_fractions_of_time_agree(schedule):
    times = np.arange(0, 100, 0.125)
    np.testing.assert_allclose(schedule(ops.convert_to_tensor(times)), schedule(times), rtol=1e-5)


@each
def test_nothing_before_the_beginning(schedule):
    assert schedule(-1) == 0.0
    assert float(schedule(ops.convert_to_tensor(-1))) == 0.0


@pytest.mark.parametrize("floatx", ["float16", "float64"])
def test_the_default_float_type_does_not_matter(floatx):
    keras.config.set_floatx(floatx)
    try:
        for schedule in ALL:
            tensor = schedule(ops.convert_to_tensor(TIMES))
            assert tensor.dtype == "float32"
            np.testing.assert_allclose(tensor, schedule(TIMES), rtol=1e-5)
    finally:
        keras.config.set_floatx("float32")


@each_ramp
def test_ramps_start_end_and_move_one_way(ramp):
    finish = ramp.begin + ramp.duration
    inside = np.linspace(ramp.begin, finish, 500)
    for values in (ramp(inside), ops.convert_to_numpy(ramp(ops.convert_to_tensor(inside)))):
        direction = 1 if ramp.end >= ramp.start else -1
        assert np.all(direction * np.diff(values) >= 0)
        assert np.all((values >= min(values[0], values[-1])) & (values <= max(values)))
    assert ramp(ramp.begin) == pytest.approx(ramp.start, rel=1e-12)
    for later in (finish, finish + 1, 10**9):
        assert ramp(later) == ramp.end
        assert np.float32(ramp(ops.convert_to_tensor(later))) == np.float32(ramp.end)
    assert ramp(np.nextafter(ramp.begin, -1)) == 0.0


@each_ramp
def test_a_falling_ramp_mirrors_a_rising_one(ramp):
    mirrored = type(ramp)(ramp.end, ramp.start, ramp.duration, ramp.begin)
    passed = np.linspace(0, ramp.duration, 100)
    forth, back = ramp(ramp.begin + passed), mirrored(ramp.begin + ramp.duration - passed)
    np.testing.assert_allclose(forth, back, rtol=1e-9, atol=1e-15)


@each_ramp
def test_begin_only_shifts(ramp):
    later = type(ramp)(ramp.start, ramp.end, ramp.duration, begin=ramp.begin + 1000)
    np.testing.assert_array_equal(ramp(TIMES), later(TIMES + 1000))


@pytest.mark.tensorflow
@pytest.mark.parametrize("end", [2**24 + 1, 2**31 - 5, 2**40 + 1])
def test_integer_steps_stay_exact_beyond_float32(end):
    """In float32 these steps, and the boundaries between them, could not be told apart."""
    steps = np.array([end - 1, end, end + 1])
    chain = Chain([Staircase([1.0], 1), LinearRamp(0, 4, duration=4)], boundaries=[end])
    expected = {
        LinearRamp(0, 4, duration=4, begin=end): [0, 0, 1],
        GeometricRamp(1, 4, duration=2, begin=end): [0, 1, 2],
        Staircase([1, 2], every=end): [1, 2, 2],
        GeometricRamp(1e-3, 1, duration=end): [1, 1, 1],
        chain: [1, 0, 1],
    }
    for jit in (False, True):
        together = tf.function(lambda times: [s(times) for s in expected], jit_compile=jit)
        values = together(ops.convert_to_tensor(steps))
        np.testing.assert_allclose(values, [*expected.values()], rtol=1e-5)


def test_falling_ramps_keep_their_digits_near_the_end():
    """1 - f cancels in float32; measured from the end it does not."""
    duration = 10_000_000
    steps = np.arange(duration - 5, duration)
    for ramp in (LinearRamp(1, 0, duration), CosineRamp(1, 0, duration)):
        np.testing.assert_allclose(ramp(ops.convert_to_tensor(steps)), ramp(steps), rtol=1e-5)


def test_the_whole_range_of_float32_neither_overflows_nor_vanishes():
    ramp = GeometricRamp(1e-37, 1e37, duration=1000)
    steps = np.arange(1001)
    np.testing.assert_allclose(ramp(ops.convert_to_tensor(steps)), ramp(steps), rtol=3e-5)


def test_not_a_number_stays_visible():
    for schedule in RAMPS:
        assert np.isnan(schedule(float("nan")))


@each
def test_representation_rebuilds(schedule):
    assert eval(repr(schedule)) == schedule


@each
def test_configuration_survives_json(schedule):
    read = check_config(schedule)
    assert read == schedule
    np.testing.assert_array_equal(read(TIMES), schedule(TIMES))
    assert type(schedule).from_config(schedule.get_config()) == schedule


@each
def test_copies_are_equal_and_hash_alike(schedule):
    twin = copy.deepcopy(schedule)
    assert twin == schedule
    assert hash(twin) == hash(schedule)
    assert schedule != "schedule"


def test_different_schedules_differ():
    assert len(set(ALL)) == len(ALL)
    assert LinearRamp(1, 2, 3) == LinearRamp(1.0, np.float64(2), np.int64(3), begin=0.0)
    assert LinearRamp(1, 2, 3) != CosineRamp(1, 2, 3)


def test_schedules_cannot_be_changed():
    with pytest.raises(AttributeError):
        RAMPS[0].end = 2.0


NO_TIMES = {
    "a string": "3",
    "None": None,
    "a boolean": True,
    "a boolean of NumPy": np.True_,
    "booleans": np.array([True, False]),
    "strings": ["3", "4"],
    "complex": np.array([1j]),
    "a ragged list": [[1, 2], [3]],
    "beyond float64": 10**400,
    "a tensor of booleans": ops.convert_to_tensor([True, False]),
    "an object": object(),
}


@pytest.mark.parametrize("time", NO_TIMES.values(), ids=NO_TIMES)
def test_what_is_no_time(time):
    with pytest.raises(TypeError, match=r"`time` must be a number.*Received: time="):
        s.LinearRamp(0, 1, 2)(time)


@pytest.mark.tensorflow
def test_a_tensor_of_text_is_no_time():
    with pytest.raises(TypeError, match=r"`time` must be a number.*Received: time="):
        s.LinearRamp(0, 1, 2)(tf.constant("3"))
