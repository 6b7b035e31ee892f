"""Two whole controllers whose reports contradict each other."""

from pathlib import Path

from haman.core.words import Role
from tests.cluster.pair import until
from tests.controller.rig import duo


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
