"$python" tests/benchmarks/overhead.py --pairs 2 --turns 3
"$python" tests/benchmarks/monitor.py --epochs 10
"$python" tests/benchmarks/tuner.py --trials 4 --epochs 2 --replicas 4
