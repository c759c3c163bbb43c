"""Programs that are quick to compile."""

import pytest

from keras_physreg.replicas import compiled, engines
from tests import kept_graphs
from tests.replicas import trained


@pytest.fixture(scope="package", autouse=True)
def _shared_trainers():
    yield
    trained.of_kind.cache_clear()


@pytest.fixture(autouse=True)
def _no_known_programs():
    kept_graphs.forget_programs()


@pytest.fixture
def one_program(monkeypatch):
    """One program instead of one per core: half as much is compiled."""
    monkeypatch.setattr(compiled, "cores", lambda: 1)


@pytest.fixture
def without_xla(monkeypatch):
    """One program, of TensorFlow's own kernels, as for models that XLA slows down."""
    monkeypatch.setattr(compiled, "cores", lambda: 1)
    monkeypatch.setattr(engines, "SLOW_BY_XLA", ("MatMul",))
