"""Documents are read and compacted in child processes, which may hang or die of what clients wrote.

:class:`Sandbox` is the parent's side. ``python -m collab.sandbox`` is the child: :mod:`collab.sandbox.work` is
what it does, :mod:`collab.sandbox.messages` what goes over its pipes.
"""

from collab.sandbox.client import Sandbox, SandboxError
from collab.sandbox.messages import Compacted

__all__ = ["Compacted", "Sandbox", "SandboxError"]
