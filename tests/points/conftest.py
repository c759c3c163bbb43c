"""Fixtures of tests with points."""

from tests.quick_replicas import as_shipped as as_shipped
