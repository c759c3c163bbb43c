"""What is released: one version everywhere, and a CI that fails when anything fails."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_physreg

ROOT = Path(__file__).parents[1]
CI = ROOT / ".ci"


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_one_version_everywhere():
    changelog = re.search(r"^## \[(.*)\] - (\d{4}-\d\d-\d\d)$", text("CHANGELOG.md"), re.MULTILINE)
    citation = dict(re.findall(r"^(version|date-released): (\S+)$", text("CITATION.cff"), re.M))
    project = re.search(r'^version = "(.*)"$', text("pyproject.toml"), re.MULTILINE)
    assert re.fullmatch(r"\d+\.\d+\.\d+", keras_physreg.__version__)
    assert changelog[1] == citation["version"] == project[1] == keras_physreg.__version__
    assert changelog[2] == citation["date-released"]


def test_no_change_waits_for_a_release_that_has_a_number():
    headings = re.findall(r"^## (.*)$", text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0].startswith(f"[{keras_physreg.__version__}]")
    assert len(headings) == len(set(headings))


# Without the folder of CI, as in the source distribution, there is nothing to test.
in_repository = pytest.mark.skipif(not CI.exists(), reason="not in the repository")


def lanes(folder, steps, *arguments):
    """Runs lanes over steps that are written for the test; returns what ran, and how it ended."""
    folder = folder / "steps"
    folder.mkdir()
    for name, script in steps.items():
        (folder / f"{name}.sh").write_text(script + f"\ntouch {folder}/{name}.done\n")
    run = subprocess.run(
        [sys.executable, str(CI / "lanes.py"), *arguments],
        env={**os.environ, "STEPS": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,  # Less than a step may sleep.
    )
    done = {path.stem for path in folder.glob("*.done")}
    return run, done


@in_repository
def test_steps_that_pass(tmp_path):
    steps = {"a": "echo out of a", "b": "echo out of b >&2", "c": "true"}
    run, done = lanes(tmp_path, steps, "a b", "c")
    assert run.returncode == 0, run.stdout
    assert done == {"a", "b", "c"}
    assert re.search(r"== a: passed after \d+ s\nout of a\n", run.stdout)
    assert re.search(r"== b: passed after \d+ s\nout of b\n", run.stdout)


@in_repository
@pytest.mark.parametrize(
    "broken",
    [
        pytest.param("false\ntrue", id="first of two commands"),
        pytest.param("exit 3", id="last command"),
        pytest.param("false | cat", id="pipe"),
        pytest.param("echo $no_such_name", id="unset name"),
        pytest.param("kill -9 $$", id="killed"),
    ],
)
@pytest.mark.parametrize("arguments", [("b c", "a"), ("a", "b c"), ("b c",)], ids="/".join)
def test_a_step_that_fails_fails_the_run(broken, arguments, tmp_path):
    run, done = lanes(tmp_path, {"a": "true", "b": broken, "c": "true"}, *arguments)
    assert run.returncode == 1
    assert run.stdout.endswith("FAILED: b\n")
    assert "b: FAILED after" in run.stdout
    assert not done & {"b", "c"}


@in_repository
def test_a_failure_stops_what_runs_beside_it(tmp_path):
    steps = {
        "long": "touch $STEPS/begun\nsleep 600 & wait",
        "later": "true",
        "b": "until [ -e $STEPS/begun ]; do sleep 0.05; done\nfalse",
    }
    run, done = lanes(tmp_path, steps, "long later", "b")
    assert (run.returncode, done) == (1, set())
    assert "long: stopped after" in run.stdout


@in_repository
def test_a_step_that_cannot_start_is_no_success(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # There is no bash here.
    run, done = lanes(tmp_path, {"a": "true"}, "a")
    assert (run.returncode, done) == (1, set())
    assert "bash" in run.stderr


@in_repository
@pytest.mark.parametrize("arguments", [["no_such"], [], [""]], ids=["unknown", "none", "empty"])
def test_no_steps_are_no_success(arguments, tmp_path):
    assert lanes(tmp_path, {}, *arguments)[0].returncode == 2


@in_repository
def test_every_step_is_run():
    named = re.findall(r'"([\w ]+)"', re.sub(r"^.*=.*$", "", text(".ci/run"), flags=re.MULTILINE))
    steps = " ".join(named).split()
    assert sorted(steps) == sorted(path.stem for path in (CI / "steps").glob("*.sh"))
