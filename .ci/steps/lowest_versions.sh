# The core with the lowest versions that the package allows.
for lowest in python3.10 "$HOME"/.pyenv/versions/3.10.*/bin/python python3; do
    "$lowest" -c "" 2>/dev/null && break
done
"$lowest" --version
"$lowest" -m venv "$work/lowest"
"$work/lowest/bin/pip" install -q "keras==3.10.0" "tensorflow==2.19.0" "keras-tuner==1.4.7" "numpy==1.26.0" pytest
"$work/lowest/bin/pip" install -q --no-deps .
# Old releases with new dependencies of theirs raise warnings that are not ours.
"$work/lowest/bin/python" -m pytest -q -o filterwarnings=default --disable-warnings \
    tests/layers/test_bad_input.py tests/layers/test_physics_regularization.py \
    tests/layers/test_precision.py tests/models/test_physics_model.py \
    tests/models/test_saving.py tests/models/test_surgery.py
