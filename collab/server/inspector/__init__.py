"""The inspector: a page to see into a running server, and what it asks."""
