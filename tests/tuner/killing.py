"""Kills searches with SIGKILL at random moments, and compares them with undisturbed ones.

python -m tests.tuner.killing [--oracle random grid bayesian] [--kills 20] [--seed 0]
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings

from tests.tuner import killable_search

ROOT = pathlib.Path(__file__).parents[2]
# A Gaussian process of a few points is slower on many threads.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
MAX_KILLS_PER_SEARCH = 7
PATIENCE = 600  # Seconds after which something hangs, however busy the machine.


def run(folder, oracle, kill_after=None):
    """Runs a search in a process; returns whether it was killed, and its seconds."""
    command = [sys.executable, "-m", "tests.tuner.killable_search", str(folder), oracle]
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        begin = time.perf_counter()
        if kill_after is not None:
            time.sleep(kill_after)
            process.send_signal(signal.SIGKILL)
        try:
            code = process.wait(PATIENCE)
        finally:
            process.kill()  # Where it hangs.
    assert code in (0, -signal.SIGKILL)
    return code != 0, time.perf_counter() - begin


def done(folder):
    return {path.parent.name.removeprefix("trial_") for path in folder.glob("*/*/result.json")}


def trained(folder):
    path = folder / "trained.txt"
    return path.read_text().split() if path.exists() else []


def kill_until_done(folder, oracle, moments):
    """Kills a search after each of the moments in turn, then lets it finish; returns the kills."""
    for kills, moment in enumerate([*moments, None]):
        before, runs = done(folder), len(trained(folder))
        killed, _ = run(folder, oracle, moment)
        again = trained(folder)[runs:]
        assert not before & set(again), "a trial with a result was trained again"
        assert before <= done(folder), "a result was lost"
        if not killed:
            return kills
    raise AssertionError("the last run was killed")


def undisturbed(folder, oracle):
    """Returns the outcomes of a search that is not killed, and its seconds."""
    if oracle == "bayesian":  # Its Gaussian process may round otherwise on many threads.
        killed, seconds = run(folder, oracle)
        assert not killed
        return outcomes(folder), seconds
    begin = time.perf_counter()
    found = killable_search.outcomes_of(folder, oracle)
    return json.loads(json.dumps(found)), time.perf_counter() - begin


def outcomes(folder):
    return json.loads((folder / "outcomes.json").read_text())


def different(folder, expected):
    """Returns the trials that are not as in the undisturbed search, to the last digit."""
    found = outcomes(folder)
    ids = {*found, *expected}
    return sorted(trial_id for trial_id in ids if found.get(trial_id) != expected.get(trial_id))


def kill_searches(folder, oracle, kills, seed):
    """Kills searches as often as asked; yields, per search, its kills and what differs."""
    (folder / "undisturbed").mkdir()
    expected, seconds = undisturbed(folder / "undisturbed", oracle)
    rng, left, number = random.Random(seed), kills, 0
    while left > 0:
        own, number = folder / str(number), number + 1
        own.mkdir()
        count = min(left, MAX_KILLS_PER_SEARCH)
        moments = [rng.uniform(0.0, 0.8) * seconds for _ in range(count)]
        killed = kill_until_done(own, oracle, moments)
        left -= killed
        if killed < count:  # It was done before the next moment: these searches are quicker.
            seconds /= 2
        yield killed, different(own, expected), len(expected)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--oracle", nargs="+", default=["random", "grid", "bayesian"])
    parser.add_argument("--kills", type=int, default=20, help="of searches by each oracle")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for oracle in options.oracle:
        with tempfile.TemporaryDirectory() as folder:
            found = list(kill_searches(pathlib.Path(folder), oracle, options.kills, options.seed))
        kills = sum(killed for killed, _, _ in found)
        trials = sum(count for _, _, count in found)
        differ = sum(len(ids) for _, ids, _ in found)
        print(
            f"{oracle}: {kills} SIGKILLs of {len(found)} searches; {differ} of {trials} trials "
            "differ from those of an undisturbed search",
            flush=True,
        )


if __name__ == "__main__":
    main()
