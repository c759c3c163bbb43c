"""Which built faults `diagnose` finds, and which healthy setups get no warning.

Setups that no rule was tuned on have tables of their own: `--fresh` prints these alone.

Run: python -m tests.diagnosis.faults [--rows 16 64 1000] [--seeds 5] [--only WORD] [--fresh]
"""

import argparse

import keras

import keras_physreg as kp
from tests.diagnosis.fresh_setups import FRESH_FAULTS, FRESH_HEALTHY
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


def found(name, rows, seed=0, faults=FAULTS):
    """Returns whether a fault is found, and what else is said."""
    builder, wanted, _ = faults[name]
    wanted = (wanted,) if isinstance(wanted, str) else wanted
    said = codes(diagnosed(builder, rows, seed))
    return any(code in said for code in wanted), [other for other in said if other not in wanted]


def main():
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="a word in the names of setups")
    parser.add_argument("--fresh", action="store_true", help="only setups that no rule has seen")
    options = parser.parse_args()
    if not options.fresh:
        print_tables("", FAULTS, HEALTHY, options)
    print_tables("fresh ", FRESH_FAULTS, FRESH_HEALTHY, options)


def print_tables(kind, faults, healthy, options):
    """Prints which faults are found, and which healthy setups get no warning."""
    print_table(f"{kind}fault", faults, "found", found, options)
    print()
    print_table(f"{kind}healthy setup", healthy, "without a warning", without_alarm, options)
    print()


def without_alarm(name, rows, seed, healthy):
    """Returns whether a healthy setup gets no warning, and the alarms."""
    said = alarms(diagnosed(healthy[name], rows, seed))
    return not said, said


def wanted_of(setups, name):
    """Returns what is to be said of a fault, in words; nothing of a healthy setup."""
    if not isinstance(setups[name], tuple):
        return ""
    wanted = setups[name][1]
    return wanted if isinstance(wanted, str) else " or ".join(wanted)


def print_table(title, setups, sum_title, judge, options):
    """Prints how often each setup is judged right, by the number of rows, and the sums."""
    head = " ".join(f"{rows:>10}" for rows in options.rows)
    print(f"{title:32} {'finding':32} {head}   said besides")
    sums = dict.fromkeys(options.rows, 0)
    names = [name for name in setups if options.only in name]
    for name in names:
        cells, besides = [], set()
        for rows in options.rows:
            hits = 0
            for seed in range(options.seeds):
                keras.backend.clear_session()
                hit, said = judge(name, rows, seed, setups)
                hits += hit
                besides.update(said)
            sums[rows] += hits
            cells.append(f"{hits:>3} of {options.seeds:>3}")
        others = ", ".join(sorted(besides))
        print(f"{name:32} {wanted_of(setups, name):32} {' '.join(cells)}   {others}", flush=True)
    of = len(names) * options.seeds
    print(f"{sum_title:65} {' '.join(f'{sums[rows]:>3} of {of:>3}' for rows in options.rows)}")


if __name__ == "__main__":
    main()
