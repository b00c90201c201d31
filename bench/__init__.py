"""Benchmarks: the same loads on several servers. `python -m bench run --help`; the method is in README.md."""
