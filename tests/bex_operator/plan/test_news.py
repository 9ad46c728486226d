"""Which changes of an App are told as Events."""

from bex_operator.api import conditions, status
from bex_operator.plan import news


def make_status(phase: status.Phase, reason: str, truth: bool = False) -> status.AppStatus:
    """A status with a Ready condition."""
    facts = [conditions.Fact(conditions.READY, truth, reason, "words")]
    return status.AppStatus(
        phase=phase,
        observed_generation=1,
        active_revision="rev-1" if truth else None,
        conditions=conditions.merge((), facts, generation=1, now="t"),
    )


DEPLOYING = make_status("Deploying", "RolloutProgressing")
RUNNING = make_status("Running", "Deployed", True)
CRASHING = make_status("Failed", "CrashLoopBackOff")


def test_first_calm_report_is_no_news() -> None:
    """That an App was made is known to whoever made it."""
    assert news.between(None, DEPLOYING) is None


def test_app_that_starts_broken_is_news() -> None:
    """A bad spec is told at once."""
    told = news.between(None, CRASHING)

    assert told is not None
    assert told.warning


def test_running_is_told_with_its_revision() -> None:
    """The good news names what serves."""
    assert news.between(DEPLOYING, RUNNING) == news.News(
        False, "Deployed", "Reconcile", "rev-1 serves, words"
    )


def test_same_phase_and_reason_is_no_news() -> None:
    """Words and times that move are not told."""
    assert news.between(RUNNING, RUNNING) is None
