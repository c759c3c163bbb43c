"""Days of different lengths: physics on padded sequences, with the mask that Keras carries.

The script of the guide "Physics in practice" (guides/physics_in_practice.md). A day of measured
sunlight has 8 to 13 hours with the sun well above the horizon (TMY3 Greensboro, irradiance.py); the
days are padded with zeros to one length, and `keras.layers.Masking` marks the padding. A GRU reads
GHI and cos z of a day and predicts DNI and DHI of each hour. In every hour they must close,

    GHI = DNI cos z + DHI.

The term is a mean over the hours that there are, as the data loss is. With `mask=False` it is a
mean over the padding, too, where the sun has set and the residual is that of 0 = DHI.

Run: python examples/padded_days.py
"""

import argparse

import irradiance as ir
import keras
import numpy as np

import keras_physreg as kp


def load():
    """Returns padded days: inputs and labels of shape `(days, hours, 2)`, and which hours are."""
    data = ir.load("TMY3 Greensboro")
    path = ir.FOLDER / ir.FILES["TMY3 Greensboro"]
    table = np.genfromtxt(path, delimiter=",", names=True)
    date = table["month"] * 100 + table["day"]
    days = [np.flatnonzero(date == d) for d in np.unique(date)]
    Z = np.zeros((len(days), max(map(len, days)), 2), "float32")
    x, there = np.zeros_like(Z), np.zeros(Z.shape[:2], bool)
    for k, rows in enumerate(days):
        Z[k, : len(rows)], x[k, : len(rows)] = data.Z[rows], data.x[rows]
        there[k, : len(rows)] = True
    return Z, x, there


@keras.saving.register_keras_serializable(package="padded_days")
def closure(Z, x_pred):
    """Returns the GHI that DNI and DHI add up to, less the measured one, in kW/m2."""
    return {"closure": x_pred[..., 0] * Z[..., 1] + x_pred[..., 1] - Z[..., 0]}


def build(steps, term):
    """A GRU over the hours of a day, with the closure in each of them."""
    keras.utils.set_random_seed(0)
    Z = keras.Input((steps, 2))
    hidden = keras.layers.GRU(16, return_sequences=True)(keras.layers.Masking()(Z))
    x_pred = keras.layers.Dense(2)(hidden)
    model = kp.PhysicsModel(Z, kp.PhysicsRegularization(closure, [term])(Z, x_pred))
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    return model


TERMS = {
    "data only": kp.PhysicsTerm("closure", weight=0.0),
    "with the mask": kp.PhysicsTerm("closure"),
    "mask=False": kp.PhysicsTerm("closure", mask=False),
}


def compare(labelled, epochs):
    """Trains the three; returns per model its logs and its errors on the other days, in W/m2."""
    Z, x, there = load()
    days = np.random.default_rng(0).permutation(len(Z))
    train, rest = days[:labelled], days[labelled:]
    found = {}
    for name, term in TERMS.items():
        model = build(Z.shape[1], term)
        model.fit(Z[train], x[train], epochs=epochs, verbose=0)
        data = {"batch_size": labelled, "verbose": 0}
        logged = model.evaluate(Z[train], x[train], return_dict=True, **data)["closure_loss"]
        predicted = model.predict(Z, verbose=0)
        squares = np.square(closure(Z, predicted)["closure"])
        found[name] = {
            "logged": logged,
            "hours": np.mean(squares[train][there[train]]),
            "all steps": np.mean(squares[train]),
            "error": ir.KW * np.sqrt(np.mean(((predicted - x)[rest] ** 2)[there[rest]])),
            "closure": ir.KW * np.sqrt(np.mean(squares[rest][there[rest]])),
        }
    return found


def main():
    """Prints what is logged beside the two means, and the errors on days without labels."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labelled", type=int, default=30, help="days with labels")
    parser.add_argument("--epochs", type=int, default=300)
    options = parser.parse_args()
    found = compare(options.labelled, options.epochs)
    print("Closure on the labelled days, kW2/m4: logged, mean over their hours, over all steps;")
    print("on the other days: errors of DNI and DHI, and of the closure, W/m2 (rms)\n")
    print(f"{'':14}{'logged':>12}{'hours':>12}{'all steps':>12}{'error':>9}{'closure':>9}")
    for name, row in found.items():
        losses = "".join(f"{row[key]:12.6f}" for key in ("logged", "hours", "all steps"))
        print(f"{name:14}{losses}{row['error']:9.1f}{row['closure']:9.1f}")


if __name__ == "__main__":
    main()
