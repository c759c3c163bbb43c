"""How Sphinx builds the site; see build.py."""

import inspect
import re
from typing import Any

import keras_physreg

project = "keras_physreg"
author = "The keras_physreg authors"
version = release = keras_physreg.__version__
language = "en-GB"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_parser",
    "sphinx_copybutton",
]
include_patterns = [
    "index.md",
    "CHANGELOG.md",
    "api/*.rst",
    "examples/guides/*.md",
    "tests/benchmarks/README.md",
]
html_theme = "furo"
html_title = f"keras_physreg {version}"
html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["site.css"]

myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
# What Keras calls, and users do not.
KERAS_HOOKS = [
    "build",
    "build_from_config",
    "call",
    "compute_loss",
    "compute_mask",
    "compute_output_shape",
    "compute_output_spec",
    "from_config",
    "functional_class",
    "get_config",
    "get_metrics_result",
    "load_own_variables",
    "losses",
    "predict_step",
    "save_own_variables",
    "stateless_call",
    "test_step",
    "train_step",
]
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Call arguments", "params_style")]
napoleon_use_rtype = False  # What comes before a colon in "Returns" need not be a type.
napoleon_use_admonition_for_examples = False


def left_out(app: Any, what: str, name: str, value: Any, skip: bool, options: Any) -> bool:
    """Leaves out what Keras calls, and what is described in a base class."""
    short, text = name.rsplit(".", 1)[-1], getattr(value, "__doc__", None) or ""
    hidden = short in KERAS_HOOKS or short.startswith("on_") or text.startswith("See `")
    return True if hidden else skip


def own_signature(
    app: Any, what: str, name: str, value: Any, options: Any, signature: str, returns: str
) -> tuple[str, str | None] | None:
    """Shows the arguments of `__init__`: those of `__new__`, which Keras adds, say nothing."""
    if what != "class" or not (signature or "").startswith("(*args"):
        return None
    _, *parameters = inspect.signature(value.__init__).parameters.values()
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in parameters]
    return str(inspect.Signature(plain)), None


CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)(\w*)")
EXAMPLE = re.compile(r"^Example:\n", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\((https?://[^)]+)\)")


def as_code(match: re.Match) -> str:
    """Returns `code` as reStructuredText: a link where it is a public name."""
    text, rest = " ".join(match[1].split()), match[2] and rf"\ {match[2]}"
    name = text.removeprefix("keras_physreg.").removesuffix("()")
    if name.split(".")[0] in keras_physreg.__all__:
        return f":py:obj:`{text} <keras_physreg.{name}>`{rest}"
    return f"``{text}``{rest}"


def markdown_code(
    app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Docstrings mark code and links as Markdown does, like those of Keras."""
    text = EXAMPLE.sub(".. rubric:: Example\n\n", "\n".join(lines))
    parts = re.split(r"(^\s*>>> .*(?:\n.+)*)", text, flags=re.MULTILINE)
    parts[::2] = [LINK.sub(r"`\1 <\2>`__", CODE.sub(as_code, part)) for part in parts[::2]]
    lines[:] = "".join(parts).split("\n")


def to_index(app: Any, name: str, source: list[str]) -> None:
    """The front page is the README."""
    source[0] = source[0].replace("](../../README.md", "](../../index.md")


def setup(app: Any) -> None:
    """Connects the functions above."""
    app.connect("autodoc-skip-member", left_out)
    app.connect("autodoc-process-docstring", markdown_code, priority=100)
    app.connect("autodoc-process-signature", own_signature)
    app.connect("source-read", to_index)
