"""Checks what is in the wheel and in the source distribution: `check_package.py FOLDER`."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

folder = Path(sys.argv[1])
(wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
name = source.name.removesuffix(".tar.gz")
tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True)
files = tracked.stdout.splitlines()

inside = set(zipfile.ZipFile(wheel).namelist())
package = {file for file in files if file.startswith("keras_physreg/")}
facts = f"{name}.dist-info/"
assert {file for file in inside if not file.startswith(facts)} == package, inside ^ package
assert "keras_physreg/py.typed" in package

# The source distribution holds what the tests need, and nothing of the repository's own.
with tarfile.open(source) as archive:
    members = archive.getnames()
held = {member.removeprefix(f"{name}/") for member in members} - {"PKG-INFO", ".gitignore"}
wanted = {file for file in files if not file.startswith(".")}
assert held == wanted, held ^ wanted

metadata = zipfile.ZipFile(wheel).read(f"{facts}METADATA").decode()
_, page = metadata.split("\n\n", 1)
assert page.startswith("# keras_physreg")
assert not re.search(r"\]\((?!https?:|#)", page), "links that lead nowhere on PyPI"
readme = Path("README.md").read_text(encoding="utf-8")
blocks = re.findall(r"^```.*?^```$", readme, re.MULTILINE | re.DOTALL)
assert blocks
assert all(block in page for block in blocks), "blocks of code that changed"
print(f"{len(inside)} files in the wheel, {len(held)} in the source distribution")
