"""Values are shown to Prometheus as what they are."""

from collab.metrics import Metrics


def test_a_name_that_ends_with_total_is_a_counter_and_any_other_one_a_gauge() -> None:
    metrics = Metrics()
    metrics.expose(lambda: {"collab_deaths_total": ("Deaths.", 3), "collab_living": ("Lives.", 2)})
    text = metrics.render().decode()
    assert "# TYPE collab_deaths_total counter\ncollab_deaths_total 3.0\n" in text
    assert "# TYPE collab_living gauge\ncollab_living 2.0\n" in text


def test_a_webhook_is_shown_with_zeros_before_its_first_attempt_and_then_whether_the_last_one_failed() -> None:
    metrics = Metrics()
    metrics.expose(dict)
    metrics.expect_webhook("crm")
    text = metrics.render().decode()
    for outcome in ("taken", "failed", "given_up", "stopped"):
        assert f'collab_webhook_deliveries_total{{outcome="{outcome}",webhook="crm"}} 0.0\n' in text
    assert 'collab_webhook_failing{webhook="crm"} 0.0\n' in text
    metrics.delivered("crm", "failed")
    text = metrics.render().decode()
    assert 'collab_webhook_deliveries_total{outcome="failed",webhook="crm"} 1.0\n' in text
    assert 'collab_webhook_failing{webhook="crm"} 1.0\n' in text
    metrics.delivered("crm", "taken")
    assert 'collab_webhook_failing{webhook="crm"} 0.0\n' in metrics.render().decode()
