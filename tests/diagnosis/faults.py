"""Which built faults `diagnose` finds, and which healthy setups get no warning.

Run: python -m tests.diagnosis.faults [--rows 16 64 1000] [--seeds 3] [--only WORD]
"""

import argparse

import keras

import keras_physreg as kp
from tests.diagnosis.setups import FAULTS, HEALTHY

ROWS = (16, 64, 1000)
# What else may be said beside a fault, as it follows from it.
ALARMS = ("error", "warning")


def diagnosed(builder, rows, seed):
    """Returns the findings of a setup."""
    setup = builder(rows, seed)
    return kp.diagnose(setup.model, setup.z, setup.x, **setup.options)


def alarms(report):
    """Returns the codes of a report's errors and warnings."""
    return [finding.code for finding in report.findings if finding.severity in ALARMS]


def codes(report):
    """Returns the codes of all findings of a report."""
    return [finding.code for finding in report.findings]


def found(name, rows, seed=0):
    """Returns whether a fault is found, and what else is said."""
    builder, code, _ = FAULTS[name]
    said = codes(diagnosed(builder, rows, seed))
    return code in said, [other for other in said if other != code]


def main():
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    head = " ".join(f"{rows:>10}" for rows in options.rows)
    print(f"{'fault':32} {'finding':20} {head}   said besides, at the last")
    sums = dict.fromkeys(options.rows, 0)
    faults = [name for name in FAULTS if options.only in name]
    for name in faults:
        cells, others = [], []
        for rows in options.rows:
            hits = 0
            for seed in range(options.seeds):
                keras.backend.clear_session()
                hit, others = found(name, rows, seed)
                hits += hit
            sums[rows] += hits
            cells.append(f"{hits:>3} of {options.seeds:>3}")
        print(f"{name:32} {FAULTS[name][1]:20} {' '.join(cells)}   {', '.join(others)}", flush=True)
    of = len(faults) * options.seeds
    print(f"{'found':53} {' '.join(f'{sums[rows]:>3} of {of:>3}' for rows in options.rows)}\n")
    print(f"{'healthy setup':53} {head}   alarms")
    sums = dict.fromkeys(options.rows, 0)
    healthy = [name for name in HEALTHY if options.only in name]
    for name in healthy:
        cells, false = [], []
        for rows in options.rows:
            clean = 0
            for seed in range(options.seeds):
                keras.backend.clear_session()
                said = alarms(diagnosed(HEALTHY[name], rows, seed))
                clean += not said
                false += said
            sums[rows] += clean
            cells.append(f"{clean:>3} of {options.seeds:>3}")
        print(f"{name:53} {' '.join(cells)}   {', '.join(sorted(set(false)))}", flush=True)
    of = len(healthy) * options.seeds
    counts = " ".join(f"{sums[rows]:>3} of {of:>3}" for rows in options.rows)
    print(f"{'without a warning':53} {counts}")


if __name__ == "__main__":
    main()
