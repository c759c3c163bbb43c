"""Why did my physics hurt? Seven setups that do nothing or do harm, on real data, each diagnosed.

The equations. A network splits measured GHI (W/m2) into DNI and DHI; known physics says that
GHI = DNI cos z + DHI (see irradiance.py). Another finds the five parameters of PV modules from
their datasheets, with the single-diode equation as physics (see pv_modules.py). The loss is

    data_loss + weight * mean(residual^2)

and in all seven cases it trains, and the numbers go down:

1. the residual closes over predictions that were made outside of it;
2. the residual goes through NumPy;
3. physics and labels disagree: four files, from instruments that close to some that do not;
4. the network has memorised its labelled rows;
5. two terms contradict each other: one takes the sun from the end of each hour;
6. a few rows carry the loss: where the sun is hidden, the physics divides by nearly 0;
7. the physics does not know the labels: the inputs were sorted, and the labels were not.

`keras_physreg.diagnose` measures what is wrong. The figure shows cases 3 and 4.

Run: python examples/why_did_my_physics_hurt.py [--steps 2000] [--out FOLDER]
"""

import argparse
from pathlib import Path

import irradiance as ir
import keras
import matplotlib.pyplot as plt
import numpy as np
import pv_modules as pv
import tensorflow as tf
from keras import ops

import keras_physreg as kp

BATCH = 128


def build(physics, terms, inputs=2, outputs=2, units=32):
    """A small network, and one layer that brings in the physics."""
    keras.utils.set_random_seed(0)
    Z = keras.Input((inputs,))
    hidden = keras.layers.Dense(units, activation="tanh")(Z)
    hidden = keras.layers.Dense(units, activation="tanh")(hidden)
    x_pred = keras.layers.Dense(outputs)(hidden)
    return kp.PhysicsModel(Z, kp.PhysicsRegularization(physics, terms)(Z, x_pred))


def train(model, Z, x, steps, rate=1e-2):
    """Trains on random batches, with a rate that falls to 0."""
    rows = np.random.default_rng(0).integers(len(Z), size=steps * BATCH)
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(keras.optimizers.Adam(schedule), loss="mse", steps_per_execution=50)
    model.fit(Z[rows], x[rows], batch_size=BATCH, shuffle=False, verbose=0)
    return model


def announce(number, title):
    """Prints the heading of a case."""
    print(f"\n\n{number}. {title}\n{'=' * (len(title) + 3)}", flush=True)


# Cases 1 and 2: no gradient


def captured_prediction(data, steps):
    """The published mistake: the physics never looks at the prediction that it is given."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    made_outside = ops.convert_to_tensor(encoder.predict(data.Z, batch_size=4096, verbose=0))

    def closure_of_made_outside(Z, x_pred):
        return ir.closure(data.Z, made_outside)

    model = train(build(closure_of_made_outside, {"closure": 1.0}), *data, steps)
    return kp.diagnose(model, *data)


def with_numpy(Z, x_pred):
    """Equation (1) with NumPy; Keras hands it symbolic tensors."""
    return np.add(np.multiply(x_pred[:, 0], Z[:, 1]), x_pred[:, 1]) - Z[:, 0]


def with_numpy_function(Z, x_pred):
    """The same, made to run by `tf.numpy_function`: it trains, and the term does nothing."""
    residual = tf.numpy_function(
        lambda Z, x: x[:, 0] * Z[:, 1] + x[:, 1] - Z[:, 0], [Z, x_pred], "float32"
    )
    return tf.ensure_shape(residual, (None,))


def numpy_physics(data, steps):
    """First the error that NumPy ends in, then what comes of working around it."""
    try:
        train(build(with_numpy, {"closure": 1.0}), *data, steps)
    except TypeError as error:
        said = next(line for line in str(error).splitlines() if "calls NumPy" in line)
        print(f"TypeError: ... {said}\n\nAnd with `tf.numpy_function` around it:\n")
    model = train(build(with_numpy_function, {"closure": 1.0}), *data, steps)
    return kp.diagnose(model, *data)


# Case 3: physics and labels disagree


def biased_physics(name, steps):
    """Trains on one file without and with the physics; returns the diagnosis and a table row."""
    data, held_out = ir.split(ir.load(name))
    errors = {}
    for weight in (0.0, 100.0):
        model = train(build(ir.closure, {"closure": weight}), *data, steps)
        x_pred = ops.convert_to_numpy(kp.strip_physics(model)(held_out.Z))
        error = (x_pred - held_out.x) * ir.KW
        errors[weight] = float(np.mean(error[:, 0] * held_out.Z[:, 1] + error[:, 1]))
    diagnosis = kp.diagnose(model, *data, validation_data=held_out)
    term = diagnosis["closure"]
    row = {
        "relative": ir.relative_error(ir.load(name)),
        "rms at labels": np.sqrt(term.floor) * ir.KW,
        "mean": term.labels.mean[0] * ir.KW,
        "bias/sd": term.bias,
        "without": errors[0.0],
        "with": errors[100.0],
    }
    return diagnosis, row


def print_ladder(rows):
    """Prints the four files in the order of their floors."""
    print(
        "Closure at the labels, W/m2, and mean error of the predicted DNI cos z + DHI on held-out\n"
        "rows, W/m2, without the physics and at weight 100:\n"
    )
    print("file             rms/GHI    rms   mean  bias/sd  without    with   findings")
    for name, (diagnosis, row) in rows.items():
        codes = ", ".join(dict.fromkeys(finding.code for finding in diagnosis.findings)) or "none"
        print(
            f"{name:16} {row['relative']:7.1%} {row['rms at labels']:6.2f} {row['mean']:+6.2f} "
            f"{row['bias/sd']:+8.2f} {row['without']:+8.2f} {row['with']:+7.2f}   {codes}"
        )


# Case 4: memorised labels


def memorised(steps):
    """100 labelled modules, and 1000 held-out ones."""
    data = pv.split(*pv.load_modules())
    terms = [
        kp.PhysicsTerm("x", reference="target", components=[0, 1], weight=0.01),
        kp.PhysicsTerm("z", reference="input", components=[0, 1, 2, 3], weight=0.1),
    ]
    model = build(pv.calc_reg_terms, terms, inputs=8, outputs=5, units=64)
    train(model, *data.labelled, 2 * steps, rate=5e-3)
    return kp.diagnose(model, *data.labelled, validation_data=data.validation)


# Case 5: terms that contradict each other


def two_clocks(Z, x_pred):
    """Equation (1) with the sun in the middle of the hour, and with that at its end."""
    ghi_middle = x_pred[:, 0] * Z[:, 1] + x_pred[:, 1]
    ghi_end = x_pred[:, 0] * Z[:, 2] + x_pred[:, 1]
    return {"middle": ghi_middle - Z[:, 0], "end": ghi_end - Z[:, 0]}


def conflicting(steps):
    """Hourly data of TMY3: the next row's cos z stands for a clock that is half an hour late."""
    Z, x = ir.load("TMY3 Greensboro")
    end = (Z[:-1, 1] + Z[1:, 1]) / 2
    Z = np.concatenate([Z[:-1], end[:, None]], axis=-1)
    model = build(two_clocks, {"middle": 10.0, "end": 10.0}, inputs=3)
    train(model, Z, x[:-1], steps)
    return kp.diagnose(model, Z, x[:-1])


# Case 6: a few rows carry the loss


def sun_height(Z, x_pred):
    """Equation (1) solved for cos z: it divides by DNI, which is 0 where the sun is hidden."""
    return (Z[:, 0] - x_pred[:, 1]) / (x_pred[:, 0] + 1e-9) - Z[:, 1]


def sun_height_in_sight(Z, x_pred):
    """The same equation, multiplied by DNI: nothing is divided by what may be 0."""
    return Z[:, 0] - x_pred[:, 1] - x_pred[:, 0] * Z[:, 1]


def hidden_sun(physics, steps):
    """Five-minute data of four winter days, partly overcast."""
    data, held_out = ir.split(ir.load("RMIS 2022"))
    model = train(build(physics, {"height": 1.0}), *data, steps)
    x_pred = ops.convert_to_numpy(kp.strip_physics(model)(held_out.Z))
    error = float(np.sqrt(np.mean((x_pred - held_out.x) ** 2)) * ir.KW)
    return kp.diagnose(model, *data, validation_data=held_out), error


# Case 7: the physics does not know the labels


def sorted_inputs(steps):
    """Hourly data of which a tool has sorted the inputs by GHI, and left the labels in time."""
    Z, x = ir.load("TMY3 Greensboro")
    Z = Z[np.argsort(Z[:, 0])]
    model = train(build(ir.closure, {"closure": 1.0}), Z, x, steps)
    return kp.diagnose(model, Z, x)


# The picture


def draw(ladder, modules, path):
    """Draws the harm of case 3 over the bias of the physics, and the floors of case 4."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    positions = np.arange(len(ladder))
    for key, label, shift, colour in (
        ("mean", "DNI cos z + DHI of the labels, less GHI: the bias of the physics", -0.25, "0.55"),
        ("without", "the same sum of the predictions, less that of the labels", 0.0, "C0"),
        ("with", "... with the physics at weight 100", 0.25, "C3"),
    ):
        values = [row[key] for _, row in ladder.values()]
        left.bar(positions + shift, values, width=0.25, color=colour, label=label)
    names = [
        f"{name}\n{row['relative']:.1%}".replace(" ", "\n") for name, (_, row) in ladder.items()
    ]
    left.set_xticks(positions, names)
    left.set_ylabel("mean over rows (W/m$^2$)")
    left.set_xlabel("file, and rms residual at its labels over mean GHI")
    left.axhline(0.0, color="black", linewidth=0.8)
    left.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    places = [f"{row.term}, {where}" for row in modules.terms for where in ("train", "held out")]
    losses = [v for row in modules.terms for v in (row.loss, row.val_loss)]
    floors = [v for row in modules.terms for v in (row.floor, row.val_floor)]
    heights = np.arange(len(places))
    right.hlines(heights, floors, losses, color="C0", linewidth=1)
    right.plot(losses, heights, "o", color="C0", label="term loss")
    right.plot(floors, heights, "|", color="black", markersize=16, label="its floor at the labels")
    right.set(
        xscale="log",
        xlabel="loss of the PV terms (standardised units)",
        ylim=(len(places) - 0.5, -0.5),
    )
    right.set_yticks(heights, places)
    right.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main():
    """Runs the seven cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000, help="training steps of each network")
    default = Path(__file__).parent / "output"
    parser.add_argument("--out", type=Path, default=default, help="folder of the figure")
    options = parser.parse_args()
    data, _ = ir.split(ir.load("SURFRAD Alamosa"))

    announce(1, "The loss closes over predictions made outside")
    print(captured_prediction(data, options.steps))

    announce(2, "The physics goes through NumPy")
    print(numpy_physics(data, options.steps))

    announce(3, "Physics and labels disagree")
    ladder = {name: biased_physics(name, options.steps) for name in ir.FILES}
    print_ladder(ladder)
    print(
        "\nWhere the labels close (TMY3) the physics moves the predictions by next to nothing:\n"
        "the conflict says that weight 100 is large, not that the physics is wrong. Elsewhere\n"
        "the predictions lose what the labels have too much. The last one in full:"
    )
    print(f"\n{ladder['RMIS 2019'][0]}")

    announce(4, "The labels are memorised")
    modules = memorised(options.steps)
    print(modules)

    announce(5, "Two terms contradict each other")
    print(conflicting(options.steps))

    announce(6, "A few rows carry the loss")
    report, error = hidden_sun(sun_height, options.steps)
    print(f"{report}\n")
    _, without = hidden_sun(sun_height_in_sight, options.steps)
    print(
        f"Held-out error of DNI and DHI: {error:.0f} W/m2. With the equation multiplied by DNI,\n"
        f"so that no row is divided by nearly 0: {without:.0f} W/m2."
    )

    announce(7, "The physics does not know the labels")
    print(sorted_inputs(options.steps))

    draw(ladder, modules, options.out / "why_did_it_hurt.png")
    print(f"\nSaved in {options.out}: why_did_it_hurt.png")


if __name__ == "__main__":
    main()
