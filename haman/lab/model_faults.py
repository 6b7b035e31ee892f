"""The steps of a drill as faults of `haman.sim`, or why the model cannot show one."""

import math
from collections.abc import Callable, Mapping, Sequence

from haman.lab.drill import Drill, Step
from haman.lab.runtime import UnshownError
from haman.sim.faults import Fault, Faults
from haman.sim.host import Host
from haman.sim.load import Load
from haman.sim.network import BGP, MESH, WIRE, Network
from haman.sim.plans import NS_PER_S

CLIENTS = "clients"
"""The channel between clients and nodes."""
EVER_NS = 1 << 60
MENDS: Mapping[str, tuple[str, ...]] = {
    "kill": ("start",),
    "stop": ("cont",),
    "silence": ("unsilence",),
    "loss": ("mend",),
    "partition": ("mend",),
    "drain": ("undrain",),
    "clock": ("clock",),
}
"""What ends a fault, on the same node. `start` and the others do nothing else in the model."""
QUIET = {"start", "cont", "unsilence", "mend", "undrain"}
CHANNELS: Mapping[str | None, tuple[str, ...]] = {
    None: (WIRE, MESH),
    "vrrp": (WIRE,),
    "reports": (MESH,),
}
WALL_SPAN_S = 1e9
"""`wall-jump` of the model: an amount of 0 to 1 stands for this span, 0.5 for no jump."""
WHY: Mapping[str, str] = {
    "term": "the model has no agent that ends in order, which hands over first",
    "reload": "a proxy of the model has no workers to replace",
    "link-down": "the model has no cables whose loss a node could notice",
    "link-up": "the model has no cables whose loss a node could notice",
    "failover": "the model forwards no connections to the old holder",
    "clear-bgp": "the model's router cannot be told anything",
    "router": "the model's router cannot be told anything",
    "run": "the model's nodes have no shell",
    "configure": "the model reads no configuration file again",
    "stranger": "the model has no packets of others",
    "storm": "the nodes of a lab share cores that handshakes take; those of the model do not",
    "crowd": "the model has no clients that dawdle",
    "hog": "the model has no cores to take",
    "limit": "the model has no limits of a process",
    "sysctl": "the model has no kernel parameters",
    "fill": "the model has no disk",
    "await": "the model has no operator who waits",
}


class DrillFaults(Faults):
    """The faults of the model, and those that only drills make.

    Args:
        patience_ns: of each node's engine with a silent controller (`config.lease`).
    """

    def __init__(
        self,
        hosts: dict[str, Host],
        network: Network,
        load: Load,
        most_ns: int,
        patience_ns: Mapping[str, int],
    ) -> None:
        super().__init__(hosts, network, load, most_ns)
        self._patience_ns = patience_ns

    def _stop_controller(self, fault: Fault) -> Callable[[], None]:
        """Until it goes on, or its engine ends it and starts another."""
        host = self._hosts[fault.node]
        process, over = host.controller_process, False

        def undo() -> None:
            nonlocal over
            if not over:
                over = True
                process.go_on()

        def replace() -> None:
            if not over and host.engine_process.running:
                host.kill_controller()
                undo()

        process.stop()
        self._network.loop.after(self._patience_ns[fault.node], replace)
        return undo

    def _end_engine(self, fault: Fault) -> None:
        """It dies and is not started again; its guard releases. The controller dies of it."""
        self._hosts[fault.node].engine.last_words()
        self._end_agent(fault)

    def _end_agent(self, fault: Fault) -> None:
        """Nobody is left to say or release anything."""
        host = self._hosts[fault.node]
        host.engine_process.die()
        host.controller_process.die()
        host.controller = None
        host.relay.end()

    def _stop_relay(self, fault: Fault) -> Callable[[], None]:
        host = self._hosts[fault.node]
        host.relay_process.stop()
        host.look_at_session()

        def undo() -> None:
            host.relay_process.go_on()
            host.look_at_session()

        return undo

    def _silence(self, fault: Fault) -> Callable[[], None]:
        """Nothing goes in or out."""
        others = [name for name in self._hosts if name != fault.node]
        ends = [(WIRE, o) for o in others] + [(MESH, o) for o in others]
        ends += [(BGP, "router"), (CLIENTS, "")]
        paths = [(channel, fault.node, other) for channel, other in ends]
        return self._cut_all(paths + [(channel, b, a) for channel, a, b in paths])


def faults_of(drill: Drill) -> tuple[tuple[Step, tuple[Fault, ...]], ...]:
    """The faults that each step of a drill is in the model; none where it ends what was before.

    Their times count from the drill's start.

    Raises:
        UnshownError: the model cannot show a step; the text says which and why.
    """
    steps = sorted(drill.step, key=lambda step: step.at_s)
    return tuple((step, tuple(_shown(step, steps))) for step in steps)


def _shown(step: Step, steps: Sequence[Step]) -> list[Fault]:
    if step.fault in WHY:
        raise UnshownError(f"{step.fault}: {WHY[step.fault]}")
    if step.fault in QUIET:
        return []
    end = next(
        (
            other.at_s
            for other in steps
            if other.at_s > step.at_s
            and other.node == step.node
            and other.fault in MENDS.get(step.fault, ())
            and other.process == ("" if step.fault == "kill" else step.process)
        ),
        math.inf,
    )
    at_ns = round(step.at_s * NS_PER_S)
    for_ns = EVER_NS if math.isinf(end) else round((end - step.at_s) * NS_PER_S)

    def fault(kind: str, other: str = "", amount: float = 0.0, channel: str = "") -> Fault:
        return Fault(at_ns, for_ns, kind, step.node, other, amount, channel)

    match step.fault:
        case "kill":
            return [fault(_killed(step, ended=not math.isinf(end)))]
        case "stop":
            return [fault(kind) for kind in _stopped(step, steps)]
        case "silence" | "drain":
            return [fault(step.fault)]
        case "clock":
            return [fault("wall-jump", amount=0.5 + step.by_s / WALL_SPAN_S)]
        case _:
            return _lost(step, fault)


def _lost(step: Step, fault: Callable[..., Fault]) -> list[Fault]:
    if step.only not in CHANNELS:
        raise UnshownError(f"{step.fault}: the model has no frames of {step.only}")
    channels = CHANNELS[step.only]
    if step.percent < 100:
        if step.fault == "partition" or not step.peer:
            raise UnshownError(f"{step.fault}: in the model a part gets lost on one path only")
        return [fault("lossy", step.peer, step.percent / 100, c) for c in channels]
    if not step.peer:
        if step.only is None:
            raise UnshownError("loss: the model cuts all of a node's frames both ways only")
        return [fault("isolate", channel=channel) for channel in channels]
    kind = "cut" if step.fault == "partition" else "cut-one-way"
    return [fault(kind, step.peer, channel=channel) for channel in channels]


def _killed(step: Step, *, ended: bool) -> str:
    if step.process == "exabgp":
        raise UnshownError("kill: the model's router lets go by BFD, not when a session ends")
    kept = step.restart is False
    kind = {
        ("haproxy", True): "kill-proxy",
        ("haproxy", False): "kill-proxy",
        ("haman-controller", False): "kill-controller",
        ("haman-agent", False): "kill-engine",
        ("haman-agent", True): "end-engine",
        ("haman-*", True): "end-agent",
        ("ha*", True): "power-off",
        ("*", True): "power-off",
    }.get((step.process, kept))
    if kind is None or (ended and kind.startswith("end-")):
        again = " and starts it later" if ended else ""
        raise UnshownError(f"kill: the model does not end {step.process!r} alone{again}")
    return kind


def _stopped(step: Step, steps: Sequence[Step]) -> tuple[str, ...]:
    whole = {s.process for s in steps if s.fault == "stop" and s.node == step.node}
    if step.process == "exabgp" and "haman-*" not in whole:
        raise UnshownError("stop: the model's router knows BFD, and no hold time")
    kinds = {
        "haproxy": ("deaf-proxy",),
        "haman-controller": ("stop-controller",),
        "haman-agent": ("stop-engine",),
        "haman-*": ("stop-engine", "stop-controller"),
        "exabgp": ("stop-relay",),
    }.get(step.process)
    if kinds is None:
        raise UnshownError(f"stop: the model has no process {step.process!r}")
    return kinds
