# The example scripts that no slow test runs, in short.
here="sanity_sweep"
for script in $(grep -l "__main__" examples/*.py); do
    name=$(basename "$script" .py)
    grep -qF "\"$name.py\"" tests/examples/test_*.py || [[ " $here " == *" $name "* ]] || {
        echo "Neither a test nor this step runs $script."
        exit 1
    }
done
"$python" examples/sanity_sweep.py --epochs 10 --repeats 1 --seeds 1 --out "$work/out"
