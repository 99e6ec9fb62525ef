"""Side-by-side measurements of gancomp against the plain way to do the same: ``python -m benchmarks``."""
