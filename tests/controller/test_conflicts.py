"""Two whole controllers whose reports contradict each other."""

from pathlib import Path

from haman.core.words import Alert, Reason, Role
from tests.cluster.pair import until
from tests.controller.rig import RigNode, duo


async def test_two_that_are_active_are_an_event_and_an_alert_on_both(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        lb2.engine.become("web", Role.ACTIVE)
        for one in (lb1, lb2):
            await until(lambda: one.events("conflict-detected"))  # noqa: B023
            (event,) = one.events("conflict-detected")
            assert event.service == "web"
            assert event.reasons[0].code == "two-active"
            assert "lb1 and lb2 report at the same time that they hold web" in event.text
            assert "conflict" in {alert.code for alert in one.controller.snapshot().alerts}
        lb2.engine.become("web", Role.BACKUP)
        for one in (lb1, lb2):
            await until(lambda: one.events("conflict-ended"))  # noqa: B023
            assert "conflict" not in {alert.code for alert in one.controller.snapshot().alerts}


async def test_a_move_is_no_conflict(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        await lb1.controller.failover("web", "", force=False)
        await until(lambda: lb2.role() is Role.ACTIVE)
        lb1.engine.report()
        await until(lambda: lb1.events("tail-ended"))
        assert not lb1.events("conflict-detected")
        assert not lb2.events("conflict-detected")


def one_link(*nodes: RigNode) -> None:
    """Their adverts come from where their reports come from."""
    for node in nodes:
        node.engine.source = "127.0.0.1"
        node.engine.report()


async def test_who_is_heard_by_a_holder_that_it_does_not_hear_is_told_of_it(
    tmp_path: Path,
) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        one_link(lb1, lb2)
        lb2.engine.become("web", Role.ACTIVE)
        lb1.engine.rivals["web"] = "127.0.0.1"
        lb1.engine.report()
        await until(lambda: any(word.hears_us for word in lb2.engine.words))
        word = next(word for word in lb2.engine.words if word.hears_us)
        assert (word.node, word.vip, word.priority) == ("lb1", "web", 150)
        assert 0 <= lb2.clock.monotonic_ns() - word.said_ns < 2_000_000_000
        why = Reason("one-way-loss", "lb1 is active, and its adverts are lost on their way here")
        lb2.engine.tell("conflict-detected", why.text, "web", (why,))
        lb1.engine.rivals.clear()
        lb1.engine.report()
        lb2.engine.become("web", Role.BACKUP, why)
        await until(lambda: lb2.events("conflict-ended"))
        for one in (lb1, lb2):

            def alerts(node: RigNode = one) -> dict[str, Alert]:
                return {a.code: a for a in node.controller.snapshot().alerts}

            await until(lambda: "conflict" not in alerts())
            assert "lb2 does not hear who holds web" in alerts()["one-way-loss"].text
        # Its holder reports on, and while it does the word is said again.
        lb2.engine.words.clear()
        await until(lambda: lb2.engine.words)
        # The higher one is asked nothing: it outranks, and hears.
        lb2.engine.become("web", Role.BACKUP)
        await until(
            lambda: "one-way-loss" not in {a.code for a in lb1.controller.snapshot().alerts}
        )


async def test_of_a_holder_whose_engine_is_frozen_the_word_grows_old(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        one_link(lb1, lb2)
        lb1.engine.rivals["web"] = "127.0.0.1"
        lb1.engine.report()
        frozen_ns = lb1.clock.monotonic_ns()
        lb2.engine.become("web", Role.ACTIVE)
        await until(lambda: lb2.engine.words)
        lb2.engine.words.clear()
        await until(lambda: lb2.clock.monotonic_ns() - frozen_ns > 10**9)
        await until(lambda: lb2.engine.words)
        assert lb2.engine.words[-1].said_ns <= frozen_ns + 50_000_000
