"""Builds the site: the README, the guides and the reference of all public names.

Run: python .docs/build.py [--out site]        (after: pip install ".[docs]")

Sphinx reads a copy of the pages, in which they have the places that they have in the repository,
so that their links hold. A warning is an error.
"""

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

from reference import write_reference
from sphinx.cmd.build import main as sphinx

ROOT = Path(__file__).parents[1]
# Pages of the site, and what they link to.
COPIED = ["CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "examples", "tests/benchmarks"]
LEFT_OUT = shutil.ignore_patterns("__pycache__", "output", "conftest.py")
FRONT_PAGE = """

```{toctree}
:hidden:
:caption: Guides

examples/guides/README
GUIDES
```

```{toctree}
:hidden:
:caption: Reference
:glob:

api/*
```

```{toctree}
:hidden:
:caption: Project

CHANGELOG
tests/benchmarks/README
```
"""


def guides_in_order(folder: Path) -> list[str]:
    """Returns the guides in the order in which their table of contents names them."""
    contents = (folder / "README.md").read_text("utf-8")
    named = dict.fromkeys(re.findall(r"\]\((\w+)\.md\)", contents))
    pages = {path.stem for path in folder.glob("*.md")} - {"README"}
    if set(named) != pages:
        raise ValueError(
            f"{folder / 'README.md'} must name every guide: {sorted(pages ^ set(named))}"
        )
    return [f"examples/guides/{name}" for name in named]


def gather(pages: Path) -> None:
    """Copies the pages, and writes the front page and the reference."""
    for name in COPIED:
        source, copy = ROOT / name, pages / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=LEFT_OUT)
        else:
            shutil.copy(source, copy)
    readme = pages / "README.md"
    guides = "\n".join(guides_in_order(pages / "examples/guides"))
    front_page = readme.read_text("utf-8") + FRONT_PAGE.replace("GUIDES", guides)
    (pages / "index.md").write_text(front_page, "utf-8")
    write_reference(pages / "api")


def main() -> int:
    """Builds the site."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="folder of the site")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        pages = Path(folder) / "pages"
        gather(pages)
        options = ["-q", "-W", "--keep-going", "-E", "-c", str(Path(__file__).parent)]
        failed = sphinx([*options, "-d", f"{folder}/doctrees", str(pages), str(out)])
    if not failed:
        print(f"Built {len([*out.rglob('*.html')])} pages: open {out / 'index.html'}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
