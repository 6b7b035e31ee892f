"""The lookout: what needs a history to be an alert."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from haman.controller.engine_side import EngineSide
from haman.controller.lookout import INTERVAL_NS, Lookout
from haman.core.announcements import AnycastReport
from haman.core.anycast_alerts import BgpPicture
from haman.core.reports import NodeReport, PeerView
from haman.core.words import Condition, Stance, Utilization
from haman.system.link import ControllerEnd, EngineEnd, pair
from tests.controller.rig import EDGE, SteppingClock, config


def report(name: str, rate: float) -> NodeReport:
    said = AnycastReport("edge", Stance.FULL, 100, 100, 1, neighbors_up=1)
    return NodeReport(
        name, "", "1", Condition.IN_SERVICE, new_connections_per_s=rate, anycast=(said,)
    )


def test_connections_that_do_not_come_become_an_alert(tmp_path: Path) -> None:
    engine, controller = pair()
    with closing(EngineEnd(engine)), closing(ControllerEnd(controller)) as end:
        side = EngineSide(end, SteppingClock())
        lookout = Lookout(config(tmp_path, "lb1", vips=(), anycast=(EDGE,)))
        peer = PeerView("lb2", report("lb2", 50.0), 1.0, fresh=True)

        def look(rate: float, bgp: BgpPicture | None, now_ns: int) -> set[str]:
            _, alerts = lookout.look(
                report("lb1", rate),
                (peer,),
                side,
                bgp,
                isolated=False,
                rejected={},
                namesake=None,
                unreadable=(),
                not_durable="",
                senses=(),
                now_ns=now_ns,
                at_ns=now_ns,
            )
            return {a.code for a in alerts}

        seconds = range(0, 60 * INTERVAL_NS, INTERVAL_NS)
        for now_ns in seconds:
            codes = look(0.0, BgpPicture(relay=True), now_ns)
        assert "announced-but-silent" in codes
        for now_ns in seconds:
            codes = look(50.0, BgpPicture(relay=True), 60 * INTERVAL_NS + now_ns)
        assert "announced-but-silent" not in codes
        assert look(0.0, None, 0) == set()


def test_headroom_of_many_nodes_is_reckoned_anew_at_a_bounded_cost(tmp_path: Path) -> None:
    engine, controller = pair()
    with closing(EngineEnd(engine)), closing(ControllerEnd(controller)) as end:
        side = EngineSide(end, SteppingClock())
        lookout = Lookout(config(tmp_path, "lb1", vips=(), anycast=(EDGE,)))
        names = [f"lb{n}" for n in range(2, 33)]

        def look(
            now_ns: int,
            own: Condition = Condition.IN_SERVICE,
            *,
            heard: bool = True,
            cpu: float = 0.5,
        ):
            views = tuple(
                PeerView(name, report(name, 50.0), 1.0, fresh=heard or name != "lb32")
                for name in names
            )
            load = (Utilization("cpu", cpu, 1.0, "cores"),)
            mine = replace(report("lb1", 50.0), condition=own, resources=load)
            more = {
                "isolated": False,
                "rejected": {},
                "namesake": None,
                "unreadable": (),
                "not_durable": "",
                "senses": (),
            }
            return lookout.look(mine, views, side, None, now_ns=now_ns, at_ns=now_ns, **more)[0]

        first = look(0)
        assert look(INTERVAL_NS, cpu=0.6) is first
        assert look(3 * INTERVAL_NS, cpu=0.505) is first, "it has hardly moved"
        anew = look(3 * INTERVAL_NS, cpu=0.6)
        assert anew is not first
        assert look(7 * INTERVAL_NS, cpu=0.6) is anew
        assert look(8 * INTERVAL_NS, cpu=0.6) is not anew, "nothing is older than that"
        anew = look(11 * INTERVAL_NS, cpu=0.7)
        drained = look(11 * INTERVAL_NS, Condition.DRAINED, cpu=0.7)
        assert drained is not anew
        assert look(11 * INTERVAL_NS, Condition.DRAINED, heard=False, cpu=0.7) is not drained
