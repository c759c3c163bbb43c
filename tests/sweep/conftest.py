"""Sweeps whose replicas are quick to compile."""

import pytest

from tests import quick_replicas


@pytest.fixture(scope="module", autouse=True)
def _quick_replicas():
    with quick_replicas.quick_replicas():
        yield


@pytest.fixture
def as_shipped(monkeypatch):
    quick_replicas.as_shipped(monkeypatch)
