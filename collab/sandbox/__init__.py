"""Reading and compaction of documents in child processes, because client data may hang or crash them.

:mod:`collab.sandbox.client` is the parent's side. ``python -m collab.sandbox`` is the child: :mod:`collab.sandbox.work`
does its work, :mod:`collab.sandbox.messages` defines the messages on its pipes.
"""
