"""Replicas that are quick to compile, for tests of what is made of trainings.

That programs train as `fit` does, by XLA too, and are compared with it before they may train, is
tested in tests/replicas; that sweeps and searches use them as shipped, by the tests that ask for
the fixture `as_shipped`.
"""

import contextlib

import pytest

from keras_physreg.replicas import compiled, engine_choice, engines
from tests import kept_graphs


class Unprobed:
    """Takes the first engine on trust, where a `Probe` compares its steps with those of `fit`."""

    compared = "no step was compared"

    def __init__(self, job, weights):
        pass

    def difference(self, engine):
        return None


QUICK = {
    (compiled, "cores"): lambda: 1,
    (engines, "SLOW_BY_XLA"): ("MatMul",),  # TensorFlow's own kernels, as for convolutions.
    (engine_choice, "Probe"): Unprobed,
}
SHIPPED = {(owner, name): getattr(owner, name) for owner, name in QUICK}


@contextlib.contextmanager
def quick_replicas():
    """One program, not compiled by XLA, and taken on trust."""
    with pytest.MonkeyPatch.context() as patch:
        for (owner, name), value in QUICK.items():
            patch.setattr(owner, name, value)
        yield


@pytest.fixture(scope="module", autouse=True)
def of_a_module():
    """All tests of a folder whose conftest.py imports this have quick replicas."""
    with quick_replicas():
        yield


@pytest.fixture
def as_shipped(monkeypatch):
    """Undoes `of_a_module` for a test."""
    kept_graphs.forget_programs()
    for (owner, name), value in SHIPPED.items():
        monkeypatch.setattr(owner, name, value)
    yield
    kept_graphs.forget_programs()
