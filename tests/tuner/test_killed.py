"""Searches that are killed with SIGKILL, as real processes, and started again."""

import json
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def run(folder, kill_after=None):
    """Runs a search; returns whether it was killed, and its seconds."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.tuner.killable_search", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        begin = time.perf_counter()
        if kill_after is not None:
            time.sleep(kill_after)
            process.send_signal(signal.SIGKILL)
        code = process.wait(timeout=300)
    assert code in (0, -signal.SIGKILL)
    return code != 0, time.perf_counter() - begin


def done(folder):
    return {path.parent.name.removeprefix("trial_") for path in folder.glob("*/*/result.json")}


def trained(folder):
    path = folder / "trained.txt"
    return path.read_text().split() if path.exists() else []


def kill_until_done(folder, moments):
    """Kills a search after each of the moments in turn, then lets it finish; returns the kills."""
    for kills, moment in enumerate([*moments, None]):
        before, runs = done(folder), len(trained(folder))
        killed, _ = run(folder, moment)
        again = trained(folder)[runs:]
        assert not before & set(again), "a trial with a result was trained again"
        assert before <= done(folder), "a result was lost"
        if not killed:
            return kills
    raise AssertionError("the last run was killed")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    killed, seconds = run(folder)
    assert not killed
    return json.loads((folder / "outcomes.json").read_text()), seconds


def check(folder, expected):
    found = json.loads((folder / "outcomes.json").read_text())
    assert {i: status for i, (_, status, _) in found.items()} == dict.fromkeys(
        expected, "COMPLETED"
    )
    for trial_id, (values, _, score) in found.items():
        assert (values, score) == (expected[trial_id][0], pytest.approx(expected[trial_id][2]))


@pytest.mark.slow
def test_killed_once(undisturbed, tmp_path):
    expected, seconds = undisturbed
    assert kill_until_done(tmp_path, [0.4 * seconds]) == 1
    check(tmp_path, expected)


@pytest.mark.slow
def test_killed_at_20_random_moments(undisturbed, tmp_path):
    expected, seconds = undisturbed
    rng = random.Random(0)
    kills = 0
    for search in range(20):
        folder = tmp_path / str(search)
        folder.mkdir()
        kills += kill_until_done(folder, [rng.uniform(0.0, 0.5) * seconds for _ in range(7)])
        check(folder, expected)
        if kills >= 20:
            break
    assert kills >= 20
