# Where no test is slow, pytest says so by 5.
"$python" -m pytest -q -n 2 -m slow --durations 10 || [ $? -eq 5 ]
