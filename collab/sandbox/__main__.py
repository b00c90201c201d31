"""The child process: handles requests from its standard input one after the other until that ends."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from time import process_time
from typing import BinaryIO

import msgspec

from collab.errors import InvalidRequest
from collab.sandbox.changes import Historian
from collab.sandbox.makeup import makeup_of
from collab.sandbox.messages import (
    GREETING,
    HEAD_BYTES,
    PATIENCE,
    SPENT,
    Changes,
    ChangesOfMany,
    Compact,
    ContentChanges,
    Edit,
    Failure,
    Inspect,
    Past,
    ReadTexts,
    Reply,
    Request,
    Restore,
    Rewrite,
    Rich,
    Value,
    encode,
    requests,
)
from collab.sandbox.past import read_past, restore
from collab.sandbox.work import compact, read_json

_MEMORY = 1 << 30  # of address space, plus some for each byte of the request
_MEMORY_FOR_EACH_BYTE = 128
_PR_SET_PDEATHSIG = 1
_RECURSION = 10_000  # nested calls: types and values may be nested as deep as the gate allows


def main() -> None:
    """Serve until the parent closes our standard input or dies."""
    _die_with(int(sys.argv[1]))
    sys.setrecursionlimit(_RECURSION)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles the terminal's Ctrl-C
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a parent that has died needs neither the answer nor a traceback
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with the answers
    questions = sys.stdin.buffer
    historian = Historian()
    answers.write(GREETING)
    answers.flush()
    while (body := _receive(questions)) is not None:
        began = process_time()
        _bound_memory(len(body))
        reply = _answer(requests.decode(body), historian)
        answer = encode(reply)
        answers.write(SPENT.pack(process_time() - began))
        answers.write(answer)
        answers.flush()
        if isinstance(reply, Failure) and reply.fatal:
            break


def _answer(request: Request, historian: Historian) -> Reply:
    # The default actions of these signals need no Python. SIGPROF tells the parent that the document took the time, and
    # not others; SIGALRM is the parent's deadline, in case the parent is gone.
    signal.setitimer(signal.ITIMER_PROF, request.seconds)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE * request.seconds + 1.0)
    try:
        if isinstance(request, Compact):
            return compact(
                request.snapshot, request.index, request.updates, request.mapped, keep_deleted=request.keep_deleted
            )
        if isinstance(request, Changes):
            return Value(_changes(historian, request))
        if isinstance(request, ChangesOfMany):
            return Value([_timed(historian, document) for document in request.documents])
        if isinstance(request, ReadTexts):
            from collab.sandbox.texts import read_text  # most children never need it

            return Value([read_text(updates, request.without) for updates in request.documents])
        if isinstance(request, Past):
            return Value(_in_form(read_past(request.updates, request.without), request.form))
        if isinstance(request, Restore):
            return Edit(restore(request.now, request.updates, request.without))
        if isinstance(request, Inspect):
            return Value(msgspec.to_builtins(makeup_of(request.snapshot, request.rows)))
        if isinstance(request, Rich | Rewrite):
            return _rich(request)
        return Value(_in_form(read_json(request.update, request.roots, request.edit), request.form))
    except BaseException as error:  # a panic of Yrs is not an Exception, and leaves an unknown state
        return Failure(f"{type(error).__name__}: {error}"[:1000], fatal=not isinstance(error, Exception))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _timed(historian: Historian, request: Changes) -> tuple[object, float]:
    began = process_time()
    found = _changes(historian, request)
    return found, process_time() - began


def _changes(historian: Historian, request: Changes) -> ContentChanges | None:
    return historian.changes(
        request.base, request.turns, request.roots, request.before, request.after, searched=request.searched
    )


def _rich(request: Rich | Rewrite) -> Reply:
    from collab.sandbox.rich import read_rich, rewrite  # most children never need it

    try:
        if isinstance(request, Rich):
            return Value(read_rich(request.update, request.roots, request.root, request.form))
        edit = rewrite(request.update, request.roots, request.root, request.form, request.content, request.schema)
        return Edit(edit)
    except InvalidRequest as error:
        return Failure(str(error), fatal=False, invalid=True)


def _in_form(values: object, form: str | None) -> object:
    if form is None:
        return values
    return msgspec.json.encode(values) if form == "json" else msgspec.msgpack.encode(values)


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
