"""From the sanity sweep to the hyperparameter search, on PV modules with 100 labels.

The equation. A datasheet `Z` (8 numbers) goes in, the five parameters `x` of the single-diode
equation come out; that equation gives the terms x and z (see pv_modules.py). The total loss is

    data_loss(x, x_pred) + weight_x * x_loss(x, x_hat) + weight_z * z_loss(Z, Z_pred)

First `sanity_sweep` raises one weight after the other: which term does anything at all, and in
which range? Then `ReplicaTuner` searches both weights together within these ranges, its trials as
replicas in one compiled program, each the mean of several seeds. Last, the weights that were found
are held against no physics and against the best single weight of the sweep, with seeds that
neither sweep nor search has seen, on test modules, by stripped models.

What to expect: all trainings stop early, at their best epoch on 1000 more labelled modules, and
that leaves little for the physics to do (see sanity_sweep.py).

Run: python examples/tune_weights.py
"""

import argparse
import time
from pathlib import Path

import keras
import keras_tuner
import matplotlib as mpl
import numpy as np
import pv_modules as pv
from sanity_sweep import build_model

import keras_physreg as kp

mpl.use("Agg")

TERMS = ("x", "z")
FRESH_SEED = 1000  # the first of the seeds of the comparison

# The sweep


def sweep(training, seeds):
    """Raises one weight after the other, the other one at 0."""
    return kp.sanity_sweep(
        build_model(), **training, weights=np.geomspace(1e-4, 1e3, 8), seeds=seeds, verbose=0
    )


def ranges(result):
    """What the search gets: the sweep, or broad ranges where it found none for any term."""
    if any(verdict.search_range for verdict in result.verdicts.values()):
        return result
    print("The sweep found no range worth tuning: the search takes broad ones.")
    return dict.fromkeys(TERMS, (1e-2, 1e3))


def best_single_weight(result):
    """The term weights of the largest mean gain in the sweep."""
    gains = {name: v.gain for name, v in result.verdicts.items() if v.best_weight is not None}
    best = max(gains, key=gains.get)
    return dict.fromkeys(TERMS, 0.0) | {best: result.verdicts[best].best_weight}


# The search


def make_oracle(kind, trials):
    """The oracle that proposes weights; its objective is that of the hypermodel."""
    if kind == "bayesian":
        return keras_tuner.oracles.BayesianOptimizationOracle(max_trials=trials, seed=1)
    return keras_tuner.oracles.RandomSearchOracle(max_trials=trials, seed=1)


def search(weights, training, options):
    """Searches the weights of both terms together."""
    tuner = kp.ReplicaTuner(
        kp.PhysicsHyperModel(lambda hp: build_model(), weights=weights),
        make_oracle(options.oracle, options.trials),
        executions_per_trial=options.executions,
        directory=options.output,
        project_name="tune_weights",
        overwrite=not options.resume,
    )
    tuner.search(**training, verbose=2)
    return tuner


# The comparison


def compare(settings, training, data, seeds):
    """Trains each setting with fresh seeds; returns test errors, `(settings, seeds)`."""
    pairs = [(s, seed) for s in settings.values() for seed in range(seeds)]
    model = build_model()
    trainer = kp.ReplicaTrainer(
        model,
        {term: [weights[term] for weights, _ in pairs] for term in TERMS},
        seeds=[FRESH_SEED + seed for _, seed in pairs],
    )
    trainer.fit(**training, monitor="val_data_loss", verbose=0)
    errors = []
    for replica in range(len(pairs)):
        trainer.load_replica(replica)
        errors.append(test_error(model, data))
    return np.array(errors).reshape(len(settings), seeds)


def test_error(model, data):
    """RMSE / sd on test modules, mean of the five parameters, by the model without physics."""
    Z, x = data.test
    x_pred = keras.ops.convert_to_numpy(kp.strip_physics(model)(Z))
    return np.sqrt(np.mean((x_pred - x) ** 2, axis=0)).mean()


def print_comparison(settings, errors):
    """Test errors, and the change against no physics, compared seed by seed."""
    print(f"\nRMSE / sd on 3000 test modules, {errors.shape[1]} fresh seeds, 100 labelled modules")
    print(f"{'':22}{'weight x':>10}{'weight z':>10}{'mean':>9}{'sd':>8}{'change':>9}  lower in")
    for (name, weights), row in zip(settings.items(), errors, strict=True):
        change = row / errors[0] - 1
        sd = np.std(row, ddof=1) if len(row) > 1 else np.nan
        print(
            f"{name:22}{weights['x']:10.3g}{weights['z']:10.3g}{row.mean():9.4f}{sd:8.4f}", end=""
        )
        print(f"{change.mean():+9.1%}  {np.sum(change < 0)} of {len(row)} seeds")


# All of it


def options():
    """Reads the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=500, help="of four steps each")
    parser.add_argument("--seeds", type=int, default=8, help="of the sweep, and of the comparison")
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--executions", type=int, default=4, help="seeds of each trial")
    parser.add_argument("--oracle", default="random", choices=["random", "bayesian"])
    parser.add_argument("--resume", action="store_true", help="go on with a search that was ended")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output")
    return parser.parse_args()


def main():
    """Sweeps, searches, compares and draws."""
    chosen = options()
    data = pv.split(*pv.load_modules(), labelled=100, seed=0)
    training = {
        "x": data.labelled[0],
        "y": data.labelled[1],
        "validation_data": data.validation,
        "epochs": chosen.epochs,
        "batch_size": 25,
        "validation_batch_size": 1000,
    }
    begin = time.perf_counter()
    result = sweep(training, chosen.seeds)
    print(f"{result.summary()}\n\nThe sweep took {time.perf_counter() - begin:.0f} s.\n")

    begin = time.perf_counter()
    tuner = search(ranges(result), training, chosen)
    print(f"The search took {time.perf_counter() - begin:.0f} s.\n")
    front = kp.pareto_front(tuner, "z")
    print(front)

    best = tuner.get_best_models()[0]
    settings = {
        "data only": dict.fromkeys(TERMS, 0.0),
        "best of the sweep": best_single_weight(result),
        "best of the search": kp.get_term_weights(best),
    }
    errors = compare(settings, training, data, chosen.seeds)
    print_comparison(settings, errors)
    print(f"The search's best model itself, stripped: {test_error(best, data):.4f}")

    path = chosen.output / "tune_weights.png"
    front.plot().savefig(path, dpi=150)
    print(f"\nFigure: {path}")


if __name__ == "__main__":
    main()
