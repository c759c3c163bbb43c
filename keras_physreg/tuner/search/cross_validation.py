"""The splits of a search by cross-validation, and their file in the project folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_physreg._utils.errors import received, whole_number
from keras_physreg.sweep.settings import SweepSettings
from keras_physreg.sweep.splits import checked_splits
from keras_physreg.tuner.search.arguments import term_at_points
from keras_physreg.tuner.search.atomic_files import write_json
from keras_physreg.tuner.search.project import START_AGAIN, Project
from keras_physreg.tuner.search.state_file import NotAStateError, read_object

SPLITS = "cross_validation.json"
MIN_EFFECT, CONFIDENCE = 0.01, 0.95  # As in `sanity_sweep`.


def check_cv(cv: Any, repeats: Any) -> int | None:
    """Returns the number of repeats, or raises if they are given without `cv`."""
    if cv is None and repeats is not None:
        raise ValueError(
            "`repeats` is the number of shuffles of cross-validation: give `cv` as well, such as "
            f"cv=5. {received('repeats', repeats)}"
        )
    return whole_number("repeats", repeats, optional=True)


def check_held_out(cv: Any, data: dict[str, Any], groups: Any, objective: Any) -> None:
    """Raises unless either `cv` or the data give the held-out rows of the objective."""
    validation_data = data["validation_data"]
    if cv is None and validation_data is None and term_at_points(data, objective) is None:
        raise ValueError(
            "The search needs `validation_data=(x, y)`: on training rows, a term that keeps the "
            "model from memorising them would seem to hurt. With few labelled rows use "
            "`ReplicaTuner(cv=5)` instead. For an objective 'val_<term>_loss' give "
            "`validation_points` of that term. Received: validation_data=None, "
            f"objective={objective}"
        )
    if cv is not None and data["x"] is None:
        raise ValueError(
            "`cv` splits labelled rows, and there are none: give `x` and `y`, or create the tuner "
            "without `cv`. Received: x=None"
        )
    if cv is None and groups is not None:
        raise ValueError(
            "`groups` are for cross-validation: give `ReplicaTuner(cv=...)` a splitter that keeps "
            "groups together, such as `sklearn.model_selection.GroupKFold()`. Received: groups of "
            f"type {type(groups)}"
        )
    if cv is not None and validation_data is not None:
        raise ValueError(
            "With `cv`, rows of `x` and `y` are held out: leave `validation_data` out, or create "
            f"the tuner without `cv`. Received: validation_data of type {type(validation_data)}"
        )


def split_settings(
    cv: Any,
    repeats: int | None,
    groups: Any,
    seeds: list[int] | None,
    objective: Any,
    fit: dict[str, Any],
) -> SweepSettings:
    """Returns the settings of a search by cross-validation, with its splits, or raises.

    Args:
        cv: See `ReplicaTuner`.
        repeats: See `ReplicaTuner`.
        groups: Group of each row, or `None`.
        seeds: The seeds of the first split, or `None`.
        objective: The objective of the search.
        fit: Arguments of `ReplicaTrainer.fit`.
    """
    first = seeds or [0]
    splits = checked_splits(cv, repeats, groups, fit["x"], fit["y"], first[0])
    return SweepSettings(
        monitor=objective.name,
        score="best",
        epochs=fit["epochs"],
        terms=[],
        seeds=first,
        min_effect=MIN_EFFECT,
        confidence=CONFIDENCE,
        engine="",
        seconds=0.0,
        interrupted=False,
        labelled=splits.rows,
        splits=splits,
        batch_size=fit["batch_size"] or 32,
    )


def save_settings(folder: Path, settings: SweepSettings | None) -> None:
    """Writes the settings to the project folder; `None` removes the file of an earlier search."""
    if settings is None:
        (folder / SPLITS).unlink(missing_ok=True)
    else:
        write_json(folder / SPLITS, settings.to_dict())


def load_settings(folder: Path) -> SweepSettings | None:
    """Returns the settings in a project folder, or `None` if it has no file of them.

    Raises:
        ValueError: If the file does not hold settings.
    """
    path = folder / SPLITS
    if not path.exists():
        return None
    what = "description of the splits of a search"
    try:
        return SweepSettings.from_dict(read_object(path, what, {"splits": dict, "seeds": list}))
    except NotAStateError as error:
        raise ValueError(f"{error} {START_AGAIN}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no {what} ({type(error).__name__}: {error}). {START_AGAIN}"
        ) from error


def settings_of(project: Project) -> SweepSettings:
    """Returns the settings of a search in a project; raises if it has none."""
    settings = load_settings(project.folder)
    if settings is None:
        raise ValueError(
            f"The search in {project.folder} has no splits to compare trials on: create the tuner "
            "with `cv`, such as `ReplicaTuner(..., cv=5)`, and search first."
        )
    return settings


def keep_settings(project: Project, settings: SweepSettings | None) -> None:
    """Writes the settings to the folder; raises if its trials were trained on other splits."""
    if project.has_results():
        check_same_splits(project.folder, settings)
    else:
        save_settings(project.folder, settings)


def check_same_splits(folder: Path, settings: SweepSettings | None) -> None:
    """Raises if trials were trained on other splits than these.

    Args:
        folder: The project folder, in which trials were trained.
        settings: The settings of this search; `None` for no cross-validation.
    """
    known = load_settings(folder)
    before, now = (None if s is None else s.to_dict()["splits"] for s in (known, settings))
    if before != now:
        labels = ["no cross-validation" if s is None else s["label"] for s in (before, now)]
        raise ValueError(
            f"The search in {folder} splits the rows in another way: {labels[0]} there, "
            f"{labels[1]} now. Give the same arguments as before (a splitter that shuffles needs a "
            f"`random_state` to make the same splits again). {START_AGAIN}"
        )
