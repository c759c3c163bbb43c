"""BackupAndRestore(double_checkpoint=True) with the incomplete files that a kill leaves."""

import json
import shutil

import keras
import pytest

from tests.callbacks.resumable_training import train

STEPS, STOPPED = 5, 4  # Steps per epoch, and the epoch that is not reached.


class StopBefore(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == STOPPED:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(KeyboardInterrupt):
        train(folder, callbacks=[StopBefore()])
    return folder


@pytest.fixture
def backup(stopped, tmp_path):
    """The folder of a stopped training, whose files the tests damage."""
    return shutil.copytree(stopped / "backup", tmp_path / "backup")


def rest_of(whole, first):
    return {name: values[first:] for name, values in whole["history"].items()}


@pytest.mark.slow
def test_what_is_complete_goes_on_as_if_nothing_had_happened(backup, whole):
    resumed = train(backup.parent)
    assert resumed["epochs"] == whole["epochs"][STOPPED:]
    assert resumed["history"] == rest_of(whole, STOPPED)
    assert resumed["weights"] == whole["weights"]


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0.0, 0.9])
def test_weights_that_were_cut_off_are_those_of_the_epoch_before(kept, backup, whole):
    weights = backup / "latest.weights.h5"
    content = weights.read_bytes()
    weights.write_bytes(content[: int(kept * len(content))])
    resumed = train(backup.parent)
    assert resumed["epochs"] == whole["epochs"][STOPPED - 1 :]
    assert resumed["history"] == rest_of(whole, STOPPED - 1)
    assert resumed["weights"] == whole["weights"]


@pytest.mark.slow
def test_metadata_that_were_cut_off_stop_the_training_with_an_error(backup):
    (backup / "training_metadata.json").write_text("")
    with pytest.raises(json.JSONDecodeError):
        train(backup.parent)


@pytest.mark.slow
def test_new_weights_beside_old_metadata_repeat_an_epoch(backup, whole):
    """As in the docstring of WeightScheduler: by steps the ramp continues, by epochs it repeats."""
    metadata = backup / "training_metadata.json"
    metadata.write_text(json.dumps({"epoch": STOPPED - 1, "batch": 0}))
    resumed = train(backup.parent)
    assert resumed["epochs"] == whole["epochs"][STOPPED - 1 :]
    assert resumed["iterations"] == whole["iterations"] + STEPS
    assert resumed["history"]["x_weight"] == whole["history"]["x_weight"][STOPPED - 1 :]
    by_steps = whole["history"]["z_weight"]
    assert resumed["history"]["z_weight"][0] == by_steps[STOPPED]
