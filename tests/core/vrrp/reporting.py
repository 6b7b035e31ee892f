"""The nodes of `link`, with controllers that tell each other what their engines said last."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from haman.core.facts import VipReport
from haman.core.one_way import holder_words
from haman.core.reports import NodeReport, PathView, PeerView
from haman.core.vrrp.messages import HolderReported, Released, Started
from haman.core.words import Condition, Reason, Role
from tests.core.vrrp.link import MS, WEB, Link, config

TICK = 10 * MS
REPORT = 200 * MS
WORD = 1000 * MS
"""An engine speaks this often, and at once when what it is has changed."""
FRESH = 600 * MS


@dataclass
class Controller:
    """Of one node: its engine's last word, and what each peer's report said."""

    said: VipReport
    said_at: int
    sent_at: int = 0
    heard: dict[str, tuple[NodeReport, int]] | None = None


class Reporting:
    """`reports(sender, receiver)` gives the time that a report takes, or None: lost."""

    def __init__(self, priorities: tuple[int, ...], **options: Any) -> None:
        options = {"advert_interval_ns": 100 * MS} | options
        self.configs = {
            f"lb{n}": config(n, priority=p, **options) for n, p in enumerate(priorities, 1)
        }
        self.link = Link({name: {WEB: each} for name, each in self.configs.items()})
        self.reports: Callable[[str, str], int | None] = lambda *_: 1 * MS
        self.controllers = {
            name: Controller(self._word(name), self.link.now, heard={}) for name in self.configs
        }
        self._flying: list[tuple[int, str, NodeReport]] = []
        for name in self.configs:
            self.link.tell(name, Started())

    # ---- faults --------------------------------------------------------------------------------

    def lose(self, *ways: tuple[str, str]) -> None:
        """Adverts are lost on these ways, and on no others."""
        self.link.delay_ns = lambda one, other, _: None if (one, other) in ways else 1 * MS

    def release(self, name: str) -> None:
        self.link.tell(name, Released((Reason("operator", "drained"),)))

    # ---- time ----------------------------------------------------------------------------------

    def run(self, for_ns: int, look: Callable[[], None] = lambda: None) -> None:
        end = self.link.now + for_ns
        while self.link.now < end:
            self.link.run(TICK)
            for name in self.configs:
                self._speak(name)
            self._deliver()
            look()

    def holders(self) -> list[str]:
        return self.link.active()

    def down(self, name: str) -> bool:
        """Held down by a report."""
        return any(r.code == "one-way-loss" for r in self._word(name).reasons)

    # ---- inside --------------------------------------------------------------------------------

    def _word(self, name: str) -> VipReport:
        state = self.link.nodes[name].group.snapshot()[WEB]
        router = str(state.active_router or "")
        return VipReport("web", state.role, state.priority, 1, state.reasons, active_router=router)

    def _speak(self, name: str) -> None:
        controller, now = self.controllers[name], self.link.now
        news = False
        if not self.link.nodes[name].frozen:
            word = self._word(name)
            news = word != controller.said
            if news or now - controller.said_at >= WORD:
                controller.said, controller.said_at = word, now
        if news or now - controller.sent_at >= REPORT:
            controller.sent_at = now
            self._send(name)
            self._pass_on(name)

    def _send(self, name: str) -> None:
        controller = self.controllers[name]
        report = NodeReport(
            name,
            "",
            "1",
            Condition.IN_SERVICE,
            vips=(controller.said,),
            sources={"web": (str(self.configs[name].source),)},
            engine_age_ms=(self.link.now - controller.said_at) / MS,
        )
        for other in self.configs:
            delay = self.reports(name, other)
            if other != name and delay is not None:
                self._flying.append((self.link.now + delay, other, report))

    def _deliver(self) -> None:
        due = [each for each in self._flying if each[0] <= self.link.now]
        self._flying = [each for each in self._flying if each[0] > self.link.now]
        for _, name, report in due:
            heard = self.controllers[name].heard
            assert heard is not None
            heard[report.node] = (report, self.link.now)
            self._pass_on(name)

    def _pass_on(self, name: str) -> None:
        controller, now = self.controllers[name], self.link.now
        peers = []
        for peer, (report, at) in (controller.heard or {}).items():
            age_ms = (now - at) / MS
            path = PathView(f"{self.configs[peer].source}:4710", age_ms)
            peers.append(PeerView(peer, report, age_ms, now - at <= FRESH, (path,)))
        own = {"web": (str(self.configs[name].source),)}
        for word in holder_words((controller.said,), own, tuple(peers), now):
            source = self.configs[word.node].source
            self.link.tell(name, HolderReported(source, replace(word)), WEB)


def unserved(world: Reporting) -> bool:
    """Somebody contends and runs, and nobody who runs is active."""
    running = [name for name, node in world.link.nodes.items() if not node.frozen]
    roles = [world.link.role(name) for name in running]
    return Role.BACKUP in roles and Role.ACTIVE not in roles
