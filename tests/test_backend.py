"""What needs TensorFlow says so in one sentence where Keras runs on another backend."""

import keras
import pytest

from keras_physreg._utils.backend import needs_tensorflow


def test_nothing_is_said_on_tensorflow():
    needs_tensorflow("`diagnose`")


def test_another_backend_is_named_with_the_cure(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(
        NotImplementedError,
        match=r"^`diagnose` needs the TensorFlow backend.*on 'jax'.*KERAS_BACKEND=tensorflow",
    ):
        needs_tensorflow("`diagnose`")
