"""Values are shown to Prometheus as what they are."""

from collab.metrics import Metrics


def test_a_name_that_ends_with_total_is_a_counter_and_any_other_one_a_gauge() -> None:
    metrics = Metrics()
    metrics.expose(lambda: {"collab_deaths_total": ("Deaths.", 3), "collab_living": ("Lives.", 2)})
    text = metrics.render().decode()
    assert "# TYPE collab_deaths_total counter\ncollab_deaths_total 3.0\n" in text
    assert "# TYPE collab_living gauge\ncollab_living 2.0\n" in text
