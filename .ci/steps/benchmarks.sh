"$python" tests/benchmarks/overhead.py --rows bcefgh --batch 32 --pairs 1 --turns 3
"$python" tests/benchmarks/monitor.py --epochs 10
"$python" tests/benchmarks/tuner.py --trials 4 --epochs 2 --replicas 4
