"""Queries: parsing, matching, ordering, paging. docs/protocol.md defines them; this package is pure."""
