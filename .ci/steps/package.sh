# What would be published: built, checked, and the wheel used alone, as after `pip install`.
"$python" -m build -q --outdir "$work/dist" .
"$python" -m twine check --strict "$work"/dist/*
"$python" .ci/check_package.py "$work/dist"
python3 -m venv "$work/alone"
"$work/alone/bin/pip" install -q "$work"/dist/*.whl
mkdir "$work/elsewhere"
"$python" .ci/quickstart.py README.md > "$work/elsewhere/quickstart.py"
cd "$work/elsewhere"
"$work/alone/bin/python" quickstart.py
