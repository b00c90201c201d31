"""The gate: our own structural reader checks every byte from a client before the CRDT library gets it.

Begin at :mod:`collab.gate.gate`: its ``Gate`` checks an update against the document's history. ``structs`` reads bytes,
``stage`` computes what an update would add, ``document_index`` remembers what was added, ``fields`` follows entity
fields, ``revision`` rewrites an update that can be applied only in part, and ``keystroke`` is the fast path.
"""
