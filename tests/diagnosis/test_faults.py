"""Built faults are found by name, and healthy setups get no warning."""

import pytest

from tests.diagnosis.faults import alarms, diagnosed, found
from tests.diagnosis.setups import FAULTS, HEALTHY

# Of findings about labels: what the table is quickest to lose.
QUICK_FAULTS = (
    "swapped sign, residual",
    "inequality broken by labels",
)
QUICK_HEALTHY = ("heavy tails",)
# What many rows could raise an alarm at: noise, tails and small differences.
MANY_ROWS = {
    "an estimate beside the label",
    "labels with noise of one sd",
    "a residual with noise of one sd",
    "heavy tails",
    "an inequality broken by a few",
    "a norm",
    "a constant that is learned",
    "better than the network",
}


def cases(names, quick, rows):
    """The quick ones at 64 rows, and all at other numbers of rows."""
    return [
        pytest.param(
            name,
            count,
            id=f"{name}-{count}",
            marks=() if name in quick and count == 64 else pytest.mark.slow,
        )
        for name in names
        for count in rows(name)
        if count != 64 or name in quick
    ]


@pytest.mark.parametrize(
    ("name", "rows"),
    cases(FAULTS, QUICK_FAULTS, lambda name: [16] if FAULTS[name][2] == 16 else [64, 1000]),
)
def test_a_fault_is_found_by_name(name, rows):
    hit, others = found(name, rows)
    assert hit, f"{FAULTS[name][1]} is not among {others}"


@pytest.mark.parametrize(
    ("name", "rows"),
    cases(HEALTHY, QUICK_HEALTHY, lambda name: [16, 64, 1000] if name in MANY_ROWS else [16]),
)
def test_a_healthy_setup_gets_no_warning(name, rows):
    assert alarms(diagnosed(HEALTHY[name], rows, 0)) == []


def test_the_tables_have_the_sizes_that_the_guide_tells():
    assert len(FAULTS) >= 24
    assert len(HEALTHY) >= 12
