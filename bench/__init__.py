"""Benchmarks: one load, several servers, one table. `python -m bench run --help`; the method is in README.md."""
