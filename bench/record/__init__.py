"""Benchmarks of the application side: entities, live queries, the record."""
