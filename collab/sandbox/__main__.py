"""The child process: takes one request after the other from its standard input until that ends."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from typing import BinaryIO

from collab.sandbox.changes import changes
from collab.sandbox.messages import (
    GREETING,
    HEAD_BYTES,
    Changes,
    Compact,
    Edit,
    Failure,
    Past,
    Reply,
    Request,
    Restore,
    Value,
    encode,
    requests,
)
from collab.sandbox.past import read_past, restore
from collab.sandbox.work import compact, read_json, read_text

_MEMORY = 1 << 30  # of address space, and then some for each byte of the request
_MEMORY_FOR_EACH_BYTE = 128
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve until the parent closes our standard input, or dies."""
    _die_with(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the parent's business
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    os.nice(5)  # people who are typing go first
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    questions = sys.stdin.buffer
    answers.write(GREETING)
    answers.flush()
    while (body := _receive(questions)) is not None:
        _bound_memory(len(body))
        reply = _answer(requests.decode(body))
        answers.write(encode(reply))
        answers.flush()
        if isinstance(reply, Failure) and reply.fatal:
            break


def _answer(request: Request) -> Reply:
    # the parent's deadline, in case the parent is no more: the default action of SIGALRM needs no Python
    signal.setitimer(signal.ITIMER_REAL, request.seconds + 1.0)
    try:
        if isinstance(request, Compact):
            return compact(request.snapshot, request.index, request.updates, request.mapped)
        if isinstance(request, Changes):
            return Value(changes(request.base, request.turns, request.roots))
        if isinstance(request, Past):
            return Value(read_past(request.updates, request.without))
        if isinstance(request, Restore):
            return Edit(restore(request.now, request.updates, request.without))
        if request.root is None:
            return Value(read_json(request.update, request.roots))
        return Value(read_text(request.update, request.root, request.roots[request.root]))
    except BaseException as error:  # a panic of yrs is no Exception, and leaves who knows what behind
        return Failure(f"{type(error).__name__}: {error}"[:1000], fatal=not isinstance(error, Exception))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _receive(questions: BinaryIO) -> bytes | None:
    head = questions.read(HEAD_BYTES)
    if len(head) < HEAD_BYTES:
        return None
    size = int.from_bytes(head, "big")
    body = questions.read(size)
    return body if len(body) == size else None


def _bound_memory(size: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _MEMORY + size * _MEMORY_FOR_EACH_BYTE
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)


if __name__ == "__main__":
    main()
