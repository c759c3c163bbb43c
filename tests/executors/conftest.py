"""Trainings by workers, whose replicas are quick to compile."""

from tests.quick_replicas import as_shipped as as_shipped
from tests.quick_replicas import of_a_module as of_a_module
