"""Prints the Python code of the README's quickstart: `quickstart.py README.md`."""

import re
import sys
from pathlib import Path

text = Path(sys.argv[1]).read_text(encoding="utf-8")
print(re.search(r"^## Quickstart\n.*?^```python\n(.*?)^```$", text, re.M | re.S)[1])
