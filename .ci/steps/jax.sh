# The core on JAX, without TensorFlow.
python3 -m venv "$work/jax"
"$work/jax/bin/pip" install -q "keras>=3.15" keras-tuner jax numpy pytest
"$work/jax/bin/pip" install -q --no-deps .
if "$work/jax/bin/python" -c "import tensorflow" 2>/dev/null; then
    echo "TensorFlow is installed, so that this shows nothing."
    exit 1
fi
# The look at gradients while a step is traced is TensorFlow's.
KERAS_BACKEND=jax "$work/jax/bin/python" -m pytest -q --ignore tests/models/test_unreached_terms.py \
    tests/_utils tests/constants tests/derivatives tests/layers tests/models tests/schedules tests/terms \
    tests/callbacks/test_weight_scheduler.py tests/callbacks/test_weight_scheduler_input.py \
    tests/test_other_backends.py tests/test_residuals.py
