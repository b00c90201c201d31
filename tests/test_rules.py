"""Each numbered rule of docs/protocol.md is in the name of a test that holds it: ``test_e7_p2_…`` holds E7 and P2."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
RULES = re.findall(r"^\* \*\*([A-Z]\d+)\*\*", (TESTS.parent / "docs" / "protocol.md").read_text(), re.MULTILINE)


def named() -> dict[str, list[str]]:
    """The rules that tests name, with the tests' names."""
    found: dict[str, list[str]] = {}
    for file in TESTS.rglob("test_*.py"):
        for name, numbers in re.findall(
            r"^(?:(?:async )?def )?(test_((?:[a-z]\d+_)*)\w+)", file.read_text(), re.MULTILINE
        ):
            for rule in numbers.upper().split("_")[:-1]:
                found.setdefault(rule, []).append(name)
    return found


def test_no_two_rules_have_one_number() -> None:
    assert len(set(RULES)) == len(RULES) > 100


def test_each_rule_is_in_the_name_of_a_test() -> None:
    tested = named()
    assert [rule for rule in RULES if rule not in tested] == []


def test_no_test_names_a_rule_that_is_not_there() -> None:
    assert {rule: tests for rule, tests in named().items() if rule not in RULES} == {}
