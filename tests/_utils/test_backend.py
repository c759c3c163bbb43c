"""Features that need TensorFlow raise a clear error if Keras runs on another backend."""

import keras
import pytest

import keras_physreg as kp
from keras_physreg._utils.backend import needs_tensorflow


@pytest.mark.tensorflow
def test_nothing_is_said_on_tensorflow():
    needs_tensorflow("`diagnose`")


def test_another_backend_is_named_with_the_cure(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(
        NotImplementedError,
        match=r"^`diagnose` needs the TensorFlow backend.*on 'jax'.*KERAS_BACKEND=tensorflow",
    ):
        needs_tensorflow("`diagnose`")


@pytest.mark.parametrize("name", ["diagnose", "GradientMonitor"])
def test_what_needs_tensorflow_says_so_first(name, monkeypatch):
    """The error comes before any argument is checked."""
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(NotImplementedError, match=f"^`{name}` needs the TensorFlow backend"):
        getattr(kp, name)(None, None)
