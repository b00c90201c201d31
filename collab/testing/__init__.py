"""Contract tests for your own storage: inherit from them."""
