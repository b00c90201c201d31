"""The commands besides those that serve, one module for each, and what they share."""
