"""One client of the application protocol."""
