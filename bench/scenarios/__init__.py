"""The loads, one module per kind. Each runs on a server with options and returns a result."""
