"""Which built faults `diagnose` finds, and which healthy setups get no warning.

Run: python -m tests.diagnosis.faults [--rows 16 64 1000] [--seeds 3] [--only WORD]
"""

import argparse

import keras

import keras_physreg as kp
from tests.diagnosis.setups import FAULTS, HEALTHY

ROWS = (16, 64, 1000)
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
    print_table("fault", FAULTS, "found", fault_found, options)
    print()
    print_table("healthy setup", HEALTHY, "without a warning", without_alarm, options)


def fault_found(name, rows, seed):
    """Returns whether a fault is found, the finding, and what is said besides."""
    hit, others = found(name, rows, seed)
    return hit, FAULTS[name][1], others


def without_alarm(name, rows, seed):
    """Returns whether a healthy setup gets no warning, nothing, and the alarms."""
    said = alarms(diagnosed(HEALTHY[name], rows, seed))
    return not said, "", said


def print_table(title, setups, sum_title, judge, options):
    """Prints how often each setup is judged right, by the number of rows, and the sums."""
    head = " ".join(f"{rows:>10}" for rows in options.rows)
    print(f"{title:32} {'finding':20} {head}   said besides")
    sums = dict.fromkeys(options.rows, 0)
    names = [name for name in setups if options.only in name]
    for name in names:
        cells, finding, besides = [], "", set()
        for rows in options.rows:
            hits = 0
            for seed in range(options.seeds):
                keras.backend.clear_session()
                hit, finding, said = judge(name, rows, seed)
                hits += hit
                besides.update(said)
            sums[rows] += hits
            cells.append(f"{hits:>3} of {options.seeds:>3}")
        print(
            f"{name:32} {finding:20} {' '.join(cells)}   {', '.join(sorted(besides))}", flush=True
        )
    of = len(names) * options.seeds
    print(f"{sum_title:53} {' '.join(f'{sums[rows]:>3} of {of:>3}' for rows in options.rows)}")


if __name__ == "__main__":
    main()
