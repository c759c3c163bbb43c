"""Which variants of a test the default run takes: CI runs the others, too."""

import pytest


def slow_but(quick, kinds):
    """Returns kinds for `parametrize`, of which those not in `quick` are marked slow."""
    return [kind if kind in quick else pytest.param(kind, marks=pytest.mark.slow) for kind in kinds]
