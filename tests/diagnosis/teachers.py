"""Does what `diagnose` says of physics and network agree with what more weight does? Measured data.

An estimate stands beside the prediction or the label. Some are of the inputs alone: DHI by a
published correlation with the clearness of the sky, the light current of a PV module by its short
circuit current. Others take the prediction, too: DHI by the closure of measured sunlight, two
parameters of PV modules by their datasheets. Each draw takes 100 labelled rows; a network
trains on them at weight 1, at 10 and at 0, with several seeds, and is diagnosed as it stands at
weight 1, with 100 held-out rows. The test rows, 600 at most, are others again. `less` and `more`
are the changes of the test error at weights 0 and 10 against weight 1: the geometric mean over
seeds, and in how many of them the error fell.

A second table counts `few-rows`: on healthy PV modules, where a small part of the rows holds much
of the floor, and on a pump that is off in 3 % of the rows. On the modules it is looked for however
small the floor is beside the loss, as their network is not trained.

Run: python -m tests.diagnosis.teachers [--draws 6] [--seeds 4] [--few 50] [--only WORD]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

import keras_physreg as kp
from tests.diagnosis.setups import pump_off, pump_on

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import irradiance
import pv_modules

WEIGHTS = (1.0, 10.0, 0.0)
LABELLED, HELD_OUT, MAX_TEST = 100, 100, 600
EPOCHS = 200  # Of one step: a batch holds all labelled rows.
SAME = 0.01  # Least change of the test error that counts.
CODES = ("better-teacher", "worse-teacher", "at-floor", "below-floor", "memorised")
SOLAR_CONSTANT = 1.367  # kW/m2


@dataclass(frozen=True)
class Case:
    """Measured rows and physics that estimates a part of the label."""

    name: str
    x: np.ndarray
    y: np.ndarray
    physics: Callable[[Any, Any], Any]
    term: kp.PhysicsTerm


def cases() -> list[Case]:
    """Returns the cases: estimates of the inputs alone, then those that take the prediction."""
    modules = pv_modules.load_modules()
    diffuse_term = kp.PhysicsTerm("t", "prediction", components=[1])
    found = [
        Case(f"{name}, DHI by clearness", *irradiance.load(name), by_clearness, diffuse_term)
        for name in irradiance.FILES
    ]
    term = kp.PhysicsTerm("t", "prediction", components=[0])
    found.append(Case("PV modules, light current", *modules, light_current, term))
    found += [
        Case(f"{name}, DHI by closure", *irradiance.load(name), by_closure, diffuse_term)
        for name in irradiance.FILES
    ]
    for reference in ("prediction", "target"):
        term = kp.PhysicsTerm("t", reference, components=[0, 1])
        name = f"PV modules, two parameters beside the {reference}"
        found.append(Case(name, *modules, parameters, term))
    return found


def by_clearness(z: Any, p: Any) -> dict[str, Any]:
    """DHI by the share of extraterrestrial sun that arrives.

    Source: Erbs, Klein and Duffie, "Estimation of the diffuse radiation fraction for hourly, daily
    and monthly-average global radiation", Solar Energy 28 (1982) 293-302, equation 1.
    """
    del p
    k = ops.clip(z[:, :1] / (SOLAR_CONSTANT * ops.maximum(z[:, 1:2], 0.05)), 0.0, 1.0)
    middle = 0.9511 - 0.1604 * k + 4.388 * k**2 - 16.638 * k**3 + 12.336 * k**4
    share = ops.where(k <= 0.22, 1.0 - 0.09 * k, ops.where(k <= 0.8, middle, 0.165))
    return {"t": share * z[:, :1]}


def light_current(z: Any, p: Any) -> dict[str, Any]:
    """I_L by the datasheet alone: what is short-circuited, but for what diode and shunt take."""
    del p
    current = pv_modules.physical(z[:, :1], pv_modules.DATASHEET[:1])
    return {"t": pv_modules.standardise(current, pv_modules.PARAMETERS[:1])}


def by_closure(z: Any, p: Any) -> dict[str, Any]:
    """DHI by the closure: GHI = DNI cos z + DHI."""
    return {"t": z[:, :1] - p[:, :1] * z[:, 1:2]}


def parameters(z: Any, p: Any) -> dict[str, Any]:
    """I_L and log I_o by the datasheet and the other parameters."""
    return {"t": pv_modules.calc_reg_terms(z, p)["x"]}


def built(case: Case) -> keras.Model:
    """Returns a compiled network with the physics on it, at weight 1."""
    inputs = hidden = keras.Input((case.x.shape[1],))
    for _ in range(2):
        hidden = keras.layers.Dense(32, activation="tanh")(hidden)
    predicted = keras.layers.Dense(case.y.shape[1])(hidden)
    model = kp.PhysicsModel(
        inputs, kp.PhysicsRegularization(case.physics, [case.term])(inputs, predicted)
    )
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    return model


def drawn(case: Case, draw: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns labelled, held-out and test rows."""
    rows = np.random.default_rng([draw, 15]).permutation(len(case.x))
    labelled, held_out, test = np.split(rows, [LABELLED, LABELLED + HELD_OUT])
    return labelled, held_out, test[:MAX_TEST]


@dataclass(frozen=True)
class Line:
    """What is said of one draw, and what weights do to its test error."""

    draw: int
    report: kp.Diagnosis
    less: np.ndarray
    more: np.ndarray

    @property
    def code(self) -> str:
        """Returns what is said of physics and network, and of the floor."""
        said = [f.code for f in self.report.findings if f.code in CODES]
        return ", ".join(dict.fromkeys(said)) or "-"

    @property
    def verdict(self) -> str:
        """Returns who is the better teacher, as the report says in a finding of any name."""
        said = " ".join(finding.message for finding in self.report.findings)
        for verdict in ("better", "worse"):
            if f"the physics is the {verdict} teacher" in said:
                return verdict
        return "open"

    def outcome(self) -> str:
        """Returns whether more physics takes the test error down or up, or makes no difference."""
        change = float(np.mean(self.more))
        return "same" if abs(change) < SAME else "falls" if change < 0 else "rises"


def lines_of(case: Case, draws: int, seeds: int) -> list[Line]:
    """Trains all draws of a case, and diagnoses each at weight 1."""
    model, parts = built(case), [drawn(case, draw) for draw in range(draws)]
    settings = [(w, d, s) for w in WEIGHTS for d in range(draws) for s in range(seeds)]
    trainer = kp.ReplicaTrainer(
        model, {"t": [w for w, _, _ in settings]}, [100 * d + s for _, d, s in settings]
    )
    history = trainer.fit(
        case.x,
        case.y,
        batch_size=LABELLED,
        epochs=EPOCHS,
        validation_batch_size=MAX_TEST,
        monitor="val_data_loss",
        verbose=0,
        rows=[parts[d][0] for _, d, _ in settings],
        validation_rows=[parts[d][2] for _, d, _ in settings],
    )
    errors = np.log(history.history["val_data_loss"][-1].reshape(len(WEIGHTS), draws, seeds))
    lines = []
    for draw, (labelled, held_out, _) in enumerate(parts):
        trainer.load_replica(draw * seeds, "last")
        report = kp.diagnose(
            model,
            case.x[labelled],
            case.y[labelled],
            validation_data=(case.x[held_out], case.y[held_out]),
            batch_size=LABELLED,
        )
        lines.append(
            Line(draw, report, errors[2, draw] - errors[0, draw], errors[1, draw] - errors[0, draw])
        )
    return lines


def print_case(case: Case, lines: list[Line]) -> None:
    """Prints the table of a case."""
    head = f"verdict  {'findings':33} less        more"
    print(f"\n{case.name}\ndraw  val floor  val loss  val network  {head}")
    for line in lines:
        row = line.report["t"]
        print(
            f"{line.draw:4}  {row.val_floor:9.3g} {row.val_loss:9.3g}  {row.val_network:11.3g}  "
            f"{line.verdict:7}  "
            f"{line.code:33} {_change(line.less)}  {_change(line.more)}"
        )


def _change(logs: np.ndarray) -> str:
    return f"{100 * np.expm1(np.mean(logs)):+5.1f} % {int((logs < 0).sum())}/{len(logs)}"


def print_sums(lines: list[Line]) -> None:
    """Prints how often the verdicts agree with what more weight does to the test error."""
    counts = Counter((line.verdict, line.outcome()) for line in lines)
    print("\nverdict   at weight 10 the test error: falls  same  rises")
    for verdict in ("better", "worse", "open"):
        cells = [counts[verdict, outcome] for outcome in ("falls", "same", "rises")]
        print(f"{verdict:8} {'':30} {cells[0]:5} {cells[1]:5} {cells[2]:6}")


def print_few_rows(draws: int) -> None:
    """Prints how often `few-rows` is said of healthy rows, and of the pump."""
    x, y = pv_modules.load_modules()
    terms = [
        kp.PhysicsTerm("x", "target", components=[0, 1]),
        kp.PhysicsTerm("z", "input", components=[0, 1, 2, 3]),
    ]
    strict = kp.Thresholds(few_rows_floor=0.0)  # However small the floor is beside the loss.
    print("\nfew-rows is said of:")
    for rows in (64, 1000):
        hits = dict.fromkeys(("x", "z"), 0)
        inputs = keras.Input((8,))
        hidden = keras.layers.Dense(16, activation="tanh")(inputs)
        layer = kp.PhysicsRegularization(pv_modules.calc_reg_terms, terms)
        model = kp.PhysicsModel(inputs, layer(inputs, keras.layers.Dense(5)(hidden)))
        model.compile("adam", "mse")
        for draw in range(draws):
            chosen = np.random.default_rng([draw, 3]).choice(len(x), rows, replace=False)
            report = kp.diagnose(model, x[chosen], y[chosen], batch_size=rows, thresholds=strict)
            for finding in report.findings:
                if finding.code == "few-rows":
                    hits[finding.term] += 1
        for name, hit in hits.items():
            print(f"  PV modules, term {name}, {rows} rows: {hit} of {draws} draws")
    for name, builder in (("pump, off in 3 %", pump_off), ("pump, where it is on", pump_on)):
        count = min(draws, 10)
        hit = sum(_says_few_rows(builder(64, draw)) for draw in range(count))
        print(f"  {name}, 64 rows: {hit} of {count} draws")


def _says_few_rows(setup: Any) -> bool:
    keras.backend.clear_session()
    report = kp.diagnose(setup.model, setup.z, setup.x)
    return any(finding.code == "few-rows" for finding in report.findings)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--few", type=int, default=50, help="draws of PV modules for few-rows")
    parser.add_argument("--only", default="", help="a word in the names of cases")
    options = parser.parse_args()
    everything = []
    for case in cases():
        if options.only in case.name:
            keras.backend.clear_session()
            keras.utils.set_random_seed(0)
            lines = lines_of(case, options.draws, options.seeds)
            print_case(case, lines)
            sys.stdout.flush()
            everything += lines
    if everything:
        print_sums(everything)
    if options.few:
        print_few_rows(options.few)


if __name__ == "__main__":
    main()
