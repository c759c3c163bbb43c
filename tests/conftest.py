"""Fresh Keras state: seeds and dtypes for every test, graphs and names for every file."""

import keras
import pytest


@pytest.fixture(autouse=True)
def _fresh_settings():
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")


@pytest.fixture(autouse=True, scope="module")
def _fresh_session():
    yield
    keras.backend.clear_session()
