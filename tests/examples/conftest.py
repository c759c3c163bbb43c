"""Example scripts, imported by their names; their replicas are quick to compile."""

import sys
from pathlib import Path

from tests.quick_replicas import as_shipped as as_shipped
from tests.quick_replicas import of_a_module as of_a_module

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
