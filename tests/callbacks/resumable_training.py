"""Trains under two WeightSchedulers and a BackupAndRestore; run as a process that can be killed.

python resumable_training.py FOLDER [EPOCH]: writes history and weights to FOLDER/result.json; with
EPOCH, says "ready" in the middle of that epoch and waits.
"""

import json
import pathlib
import sys
import time

import keras

import keras_physreg as kp
from tests.callbacks.small_model import data, physics_model

EPOCHS = 8


class WaitForTheEnd(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch == 2:
            print("ready", flush=True)
            time.sleep(600)


def main(folder, epoch=-1):
    keras.utils.set_random_seed(7)
    model = physics_model()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    callbacks = [
        keras.callbacks.BackupAndRestore(folder / "backup"),
        kp.WeightScheduler({"x": kp.GeometricRamp(1e-3, 1.0, duration=6)}),
        kp.WeightScheduler({"z": kp.GeometricRamp(1e-3, 1.0, duration=30)}, unit="step"),
        WaitForTheEnd(epoch),
    ]
    x, y = data()
    settings = {"batch_size": 4, "shuffle": False, "verbose": 0, "validation_data": data(seed=1)}
    history = model.fit(x, y, epochs=EPOCHS, callbacks=callbacks, **settings)
    result = {
        "epochs": history.epoch,
        "history": history.history,
        "weights": [weight.tolist() for weight in model.get_weights()],
        "term_weights": kp.get_term_weights(model),
        "iterations": int(model.optimizer.iterations),
    }
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:]))
