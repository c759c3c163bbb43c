"""One program instead of one per core: the tests compile half as much."""

import pytest

from keras_physreg.replicas import compiled


@pytest.fixture
def one_program(monkeypatch):
    monkeypatch.setattr(compiled, "cores", lambda: 1)
