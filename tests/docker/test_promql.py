"""What the tests of the dashboard and the alerts know of PromQL."""

import pytest

from tests.docker.promql import labels_of, parsed, selectors

SERIES = {"a_bucket": {"le", "code"}, "b": {"project"}}


@pytest.mark.parametrize(
    ("expression", "labels"),
    [
        ("b", {"project", "job", "instance"}),
        ("sum(rate(b[$__rate_interval]))", set()),
        ("topk(3, sum by (project) (b))", {"project"}),
        ("sum without (job) (b) > 1", {"project", "instance"}),
        ("histogram_quantile(0.9, sum by (le, code) (rate(a_bucket[5m])))", {"code"}),
        ("b and on (job) a_bucket", {"project", "job", "instance"}),
        ("1 - sum by (job) (b)", {"job"}),
    ],
)
def test_the_labels_of_a_result_are_known(expression: str, labels: set[str]) -> None:
    assert labels_of(parsed(expression), SERIES) == labels


@pytest.mark.parametrize("expression", ["sum by (user) (b)", "b{user='ada'}", "sum without (user) (b)"])
def test_a_label_that_is_not_there_is_found_out(expression: str) -> None:
    with pytest.raises(AssertionError):
        labels_of(parsed(expression), SERIES)


def test_a_series_that_is_not_there_is_found_out_wherever_it_is_read() -> None:
    for expression in ("c", "b > c", "b and on (job) c", "sum(rate(c[5m]))"):
        with pytest.raises(KeyError):
            labels_of(parsed(expression), SERIES)
    assert [one.name for one in selectors(parsed("rate(b[$__range]) / on (job) sum(a_bucket)"))] == ["b", "a_bucket"]


def test_what_is_no_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="unclosed"):
        parsed("sum(b")
