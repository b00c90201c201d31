"""Effects of updates on entities, and the commits and events for them."""
