"""Webhooks and Python handlers: both receive every event of the record."""
