"""Clients by hand: each speaks as little of a protocol as the load needs."""
