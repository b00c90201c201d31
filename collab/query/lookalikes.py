"""Operators of other query languages, and misspellings of ours.

Taken as member names they would match nothing: a query would find no rows, and a rule that denies would deny nobody.
Words that are equally likely as member names (``min``, ``from``, ``after``) are not included.
"""

from __future__ import annotations

import re

LOGIC = frozenset(("AND", "OR", "NOT"))
OPERATORS = frozenset(("in", "notIn", "not", "lt", "lte", "gt", "gte", "contains", "startsWith", "endsWith", "isNull"))

_VALUE = "the value itself"
_RANGE = "gte and lte"
_MEANT = {
    _VALUE: "eq equal equals equalto is = == ===",
    "not": "ne neq noteq notequal notequals notequalto isnot nor != !== <> !",
    "in": "oneof anyof isin",
    "notIn": "nin notoneof noneof",
    "gt": "greaterthan morethan >",
    "gte": "ge greaterthanorequal greaterthanorequalto greaterorequal atleast >=",
    "lt": "lessthan fewerthan <",
    "lte": "le lessthanorequal lessthanorequalto lessorequal atmost <=",
    "contains": "contain containing includes include including has hassome hasevery hasany some every "
    "like ilike likei icontains regex regexp matches fulltext substring elemmatch arraycontains "
    "arraycontainsany ~ ~* =~",
    "startsWith": "startwith startingwith beginswith beginwith istartswith ^=",
    "endsWith": "endwith endingwith iendswith $=",
    "isNull": "null exists exist isnil isnone isempty isset isnotnull notnull isundefined isdefined",
    _RANGE: "between",
}
_WORDS = {word: meant for meant, words in _MEANT.items() for word in words.split()}
_WORDS |= {operator.lower(): operator for operator in OPERATORS}
_LONG = tuple(operator for operator in sorted(OPERATORS) if len(operator) >= 8)
_LOGIC_WORDS = {word.lower(): word for word in LOGIC} | {"nor": "NOT", "&&": "AND", "||": "OR", "!": "NOT"}
_SIGNS = re.compile(r"[$_\-\s]")


def logic_like(name: str) -> str | None:
    """Which of ``AND``, ``OR`` and ``NOT`` a name was probably meant to be; ``None``: it is a plain name."""
    if name in LOGIC:
        return None
    found = _LOGIC_WORDS.get(_folded(name))
    return found or ("" if name.startswith("$") and len(name) > 1 else None)


def operator_like(name: str) -> str | None:
    """Which operator a name inside a member was probably meant to be; ``None``: it is a plain name."""
    if name in OPERATORS:
        return None
    folded = _folded(name)
    found = (
        _WORDS.get(folded) or _WORDS.get(name) or next((one for one in _LONG if _is_slip(folded, one.lower())), None)
    )
    return found or logic_like(name)


def _folded(name: str) -> str:
    return _SIGNS.sub("", name[:64]).lower()


def _is_slip(written: str, meant: str) -> bool:
    """Whether one letter is missing, extra or wrong, or two letters are swapped."""
    at = 0
    while at < min(len(written), len(meant)) and written[at] == meant[at]:
        at += 1
    rest, wanted = written[at:], meant[at:]
    changed = rest[1:2] + rest[:1] + rest[2:]
    return wanted in (rest[1:], changed) or rest == wanted[1:] or rest[1:] == wanted[1:]
