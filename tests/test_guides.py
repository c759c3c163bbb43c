"""What the pages say is there: links, files, names, and a command beside every picture.

Their blocks run by `python -m pytest examples/guides`, those of the README in test_readme.py.
"""

import re
from pathlib import Path

import pytest

import keras_physreg as kp

ROOT = Path(__file__).parents[1]
GUIDES = ROOT / "examples" / "guides"
PAGES = [ROOT / "README.md", ROOT / "tests/benchmarks/README.md", *sorted(GUIDES.glob("*.md"))]
every_page = pytest.mark.parametrize(
    "page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES]
)
FENCE = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def prose(page):
    """The text without its code blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def sections(page):
    """The text from one heading to the next; a comment in a block of code is no heading."""

    def indented(block):
        return re.sub("^#", " #", block[0], flags=re.MULTILINE)

    text = FENCE.sub(indented, page.read_text(encoding="utf-8"))
    return re.split(r"^#+ ", text, flags=re.MULTILINE)


@every_page
def test_blocks_have_a_language_that_is_known(page):
    """A block of another language, or of none, would not run."""
    languages = {language for language, _ in FENCE.findall(page.read_text(encoding="utf-8"))}
    assert languages <= {"python", "bash", "text"}


@every_page
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#]+)", prose(page))
    assert [
        link
        for link in links
        if not link.startswith("https://") and not (page.parent / link).exists()
    ] == []


@every_page
def test_files_that_are_named_exist(page):
    named = re.findall(r"\b((?:examples|tests|keras_physreg)/[\w/]+\.\w+)", page.read_text("utf-8"))
    made = {name for name in named if name.startswith("examples/output/")}
    assert [name for name in {*named} - made if not (ROOT / name).exists()] == []


@every_page
def test_names_of_the_package_exist(page):
    named = set(re.findall(r"\bkp\.(\w+(?:\.\w+)?)", prose(page)))
    assert [name for name in sorted(named) if not found(kp, name)] == []


def found(owner, name):
    for part in name.split("."):
        if not hasattr(owner, part):
            return False
        owner = getattr(owner, part)
    return True


@every_page
def test_pictures_stand_beside_the_command_that_makes_them(page):
    for section in sections(page):
        for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", section):
            commands = re.findall(r"python ((?:examples|tests)/[\w/]+\.py)", section)
            assert commands, f"{picture}: no command in its section"
            assert any(Path(picture).name in (ROOT / c).read_text("utf-8") for c in commands)


@every_page
def test_lines_of_prose_are_not_too_long(page):
    lines = [line for line in prose(page).splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(re.sub(r"\]\([^)]*\)", "]", line)) > 140] == []


def test_the_index_links_every_page():
    index = (GUIDES / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in GUIDES.glob("*.md")} - {"README.md"}
    assert pages <= set(re.findall(r"\]\((\w+\.md)\)", index))
