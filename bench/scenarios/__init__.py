"""The loads, one module per kind. Each takes a running server and options, and returns a result."""
