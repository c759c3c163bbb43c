"""Trainings by workers, whose replicas are quick to compile."""

import pytest

from tests import kept_graphs
from tests.quick_replicas import as_shipped as as_shipped
from tests.quick_replicas import of_a_module as of_a_module


@pytest.fixture(autouse=True)
def _no_known_programs():
    """Those of a model that is built alike may have been compiled otherwise."""
    kept_graphs.forget_programs()
