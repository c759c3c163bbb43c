"""Fresh Keras state: seeds and dtypes for every test, graphs and names for every file."""

import keras
import pytest


def pytest_collection_modifyitems(items):
    """On another backend than TensorFlow, skips what is marked as its own."""
    if keras.backend.backend() != "tensorflow":
        reason = f"needs TensorFlow; Keras runs on {keras.backend.backend()}"
        for item in items:
            if item.get_closest_marker("tensorflow"):
                item.add_marker(pytest.mark.skip(reason=reason))


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
