"""Rooms: the live form of documents. ``live`` holds the decisions and never waits; these modules do the async work."""
