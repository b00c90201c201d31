"""Minimal clients: each implements only the part of its protocol that the load needs."""
