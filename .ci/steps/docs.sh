"$python" .docs/build.py --out "$work/site"
test -s "$work/site/index.html"
