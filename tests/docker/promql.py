"""Which series a PromQL expression reads, and which labels its result has."""

from __future__ import annotations

from collections.abc import Mapping, Set

import promql_parser as promql

SCRAPED = frozenset({"job", "instance"})
"""Labels that Prometheus adds to all series."""

_OF_A_RANGE = {"$__rate_interval": "1m", "$__range": "3h"}


def parsed(text: str) -> promql.Expr:
    """Read an expression of Grafana or Prometheus. Raises :class:`ValueError`."""
    for variable, duration in _OF_A_RANGE.items():
        text = text.replace(f"[{variable}]", f"[{duration}]")
    return promql.parse(text)


def selectors(expression: promql.Expr) -> list[promql.VectorSelector]:
    """What it reads, with the matchers of labels."""
    found: list[promql.VectorSelector] = []

    def visit(one: promql.Expr) -> None:
        if isinstance(one, promql.VectorSelector):
            found.append(one)

    promql.walk(expression, visit)
    return found


def labels_of(expression: promql.Expr, series: Mapping[str, Set[str]]) -> set[str]:
    """The labels of its result. ``series`` has those of each series. Raises :class:`KeyError` for an unknown series,
    and :class:`AssertionError` if it groups by a label that is not there.
    """
    match expression:
        case promql.VectorSelector():
            found = {*series[str(expression.name)], *SCRAPED}
            assert {matcher.name for matcher in expression.matchers.matchers} <= found, expression
            return found
        case promql.MatrixSelector():
            return labels_of(expression.vector_selector, series)
        case promql.AggregateExpr():
            inner = labels_of(expression.expr, series)
            if str(expression.op) in {"topk", "bottomk"}:
                return inner
            if expression.modifier is None:
                return set()
            named = set(expression.modifier.labels)
            assert named <= inner, f"{expression}: there are {inner}"
            return named if expression.modifier.type == promql.AggModifierType.By else inner - named
        case promql.Call():
            found = set().union(*(labels_of(argument, series) for argument in expression.args))
            return found - {"le"} if expression.func.name == "histogram_quantile" else found
        case promql.BinaryExpr():
            left, right = labels_of(expression.lhs, series), labels_of(expression.rhs, series)
            return left if not isinstance(expression.lhs, promql.NumberLiteral) else right
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return labels_of(expression.expr, series)
        case _:
            return set()
