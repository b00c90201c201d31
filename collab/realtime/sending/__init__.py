"""Outgoing messages of a session, in bounded memory and at a bounded rate."""
