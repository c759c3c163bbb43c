"""Trains with two WeightSchedulers and a BackupAndRestore, in a process that can be killed.

python resumable_training.py FOLDER [--wait-in EPOCH] [--epochs N] [--say-epochs]: writes history
and weights to FOLDER/result.json. With --wait-in it prints "ready" in the middle of that epoch and
waits; with --say-epochs it prints "ready" at the end of each epoch.
"""

import argparse
import json
import pathlib
import time

import keras

import keras_physreg as kp
from tests.callbacks.small_model import data, physics_model


class SayReady(keras.callbacks.Callback):
    def __init__(self, wait_in, every_epoch):
        super().__init__()
        self.wait_in, self.every_epoch = wait_in, every_epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.wait_in and batch == 2:
            print("ready", flush=True)
            time.sleep(600)

    def on_epoch_end(self, epoch, logs=None):
        if self.every_epoch:
            print("ready", flush=True)


def train(folder, epochs=8, callbacks=()):
    """Continues the training from the backup in `folder`, and returns its results."""
    keras.utils.set_random_seed(7)
    model = physics_model()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    callbacks = [
        keras.callbacks.BackupAndRestore(folder / "backup", double_checkpoint=True),
        kp.WeightScheduler({"x": kp.GeometricRamp(1e-3, 1.0, duration=6)}),
        kp.WeightScheduler({"z": kp.GeometricRamp(1e-3, 1.0, duration=30)}, unit="step"),
        *callbacks,
    ]
    x, y = data()
    settings = {"batch_size": 4, "shuffle": False, "verbose": 0, "validation_data": data(seed=1)}
    history = model.fit(x, y, epochs=epochs, callbacks=callbacks, **settings)
    return {
        "epochs": history.epoch,
        "history": history.history,
        "weights": [weight.tolist() for weight in model.get_weights()],
        "term_weights": kp.get_term_weights(model),
        "iterations": int(model.optimizer.iterations),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--wait-in", type=int, default=-1)
    parser.add_argument("--say-epochs", action="store_true")
    options = parser.parse_args()
    say = SayReady(options.wait_in, options.say_epochs)
    result = train(options.folder, options.epochs, [say])
    (options.folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
