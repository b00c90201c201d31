"""Settings: options, and how they are read."""
