"""Writes the pages of the reference: one per room of the package, with every public name."""

from pathlib import Path

import keras_physreg

# In the order of the site: titles, and the rooms whose public names are on the page.
PAGES = {
    "Terms, layer and model": ["terms", "layers", "models", "inspection"],
    "Schedules and callbacks": ["schedules", "plotting", "callbacks"],
    "Diagnosis": ["diagnosis"],
    "Sanity sweep and replicas": ["sweep", "replicas"],
    "Hyperparameter search": ["tuner"],
    "Unknown constants": ["constants"],
    "Unlabelled data": ["unlabelled"],
    "Differential equations": ["derivatives", "refinement"],
    "Inequalities and conserved quantities": ["residuals"],
}


def room(name: str) -> str:
    """Returns the room of the package that a public name comes from."""
    value = getattr(keras_physreg, name)
    return getattr(value, "__module__", value.__name__).split(".")[1]


def is_class(name: str) -> bool:
    """Returns whether a public name is that of a class."""
    return isinstance(getattr(keras_physreg, name), type)


def section(name: str) -> str:
    """Returns the reference of a public name, as reStructuredText."""
    value = getattr(keras_physreg, name)
    if is_class(name):
        heading, directive = name, f".. autoclass:: keras_physreg.{name}\n   :members:"
    elif callable(value):
        heading, directive = name, f".. autofunction:: keras_physreg.{name}"
    else:
        heading, directive = name, f".. automodule:: keras_physreg.{name}\n   :members:"
    return f"{heading}\n{'-' * len(heading)}\n\n{directive}\n"


def write_reference(folder: Path) -> None:
    """Writes one page per group of rooms.

    Args:
        folder: Where to write them.

    Raises:
        ValueError: If a public name is on no page.
    """
    folder.mkdir(parents=True)
    left = set(keras_physreg.__all__)
    for number, (title, rooms) in enumerate(PAGES.items(), 1):
        names = [name for name in keras_physreg.__all__ if room(name) in rooms]
        names.sort(key=lambda name: (rooms.index(room(name)), not is_class(name), name.lower()))
        left -= set(names)
        page = [f"{title}\n{'=' * len(title)}\n", *map(section, names)]
        slug = title.lower().replace(",", "").replace(" ", "_")
        (folder / f"{number}_{slug}.rst").write_text("\n".join(page), encoding="utf-8")
    if left:
        raise ValueError(f"Public names without a page of the reference: {sorted(left)}")
