"""Drills: a scripted fault with expectations, read from TOML with all problems at once."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import tomli
from msgspec import Meta, Struct
from msgspec.structs import replace

from haman.config.walk import Findings, build
from haman.lab.topology import BadFileError, Problem

SETTLE_S = 3.0
"""After the last step, for the lab to show what it makes of it; `duration_s` says otherwise."""

Fault = Literal[
    "kill",
    "stop",
    "cont",
    "term",
    "reload",
    "start",
    "await",
    "silence",
    "unsilence",
    "link-down",
    "link-up",
    "loss",
    "partition",
    "mend",
    "drain",
    "undrain",
    "failover",
    "clear-bgp",
    "router",
    "run",
    "configure",
    "stranger",
    "storm",
    "crowd",
    "hog",
    "limit",
    "sysctl",
    "fill",
    "clock",
]
Only = Literal["arp", "vrrp", "reports", "bfd", "bgp"]
Limit = Literal["nofile", "as"]
Stance = Literal["full", "reduced", "shut", "withdrawn"]
CLIENTS = ("count", "for_s")
CONCERNS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **dict.fromkeys(("kill", "stop", "cont", "term"), (("process",), ("restart",))),
    "reload": (("process",), ()),
    "loss": ((), ("peer", "percent", "only")),
    "partition": (("peer",), ("only",)),
    "drain": ((), ("force",)),
    "failover": (("vip",), ("to", "force")),
    "clear-bgp": ((), ("peer",)),
    "router": (("commands",), ("undo",)),
    "run": (("commands",), ("undo",)),
    "configure": (("replace",), ()),
    "stranger": (("vip",), ()),
    "storm": (CLIENTS, ()),
    "crowd": (CLIENTS, ("port",)),
    "hog": (CLIENTS, ()),
    "limit": (("process", "limit", "value"), ()),
    "sysctl": (("key", "value"), ()),
    "clock": (("by_s",), ()),
}
"""The fields of a step that each fault needs, and those that it may have; the others take none."""

Count = Annotated[int, Meta(ge=0)]
Ms = Annotated[float, Meta(ge=0)]


class Load(Struct, frozen=True, forbid_unknown_fields=True):
    """What clients do meanwhile.

    Attributes:
        connections: long-lived ones, each exchanging a few bytes every `echo_interval_ms`; one that
            gets no answer for `echo_timeout_ms` is lost.
        service: the VIP or anycast service that clients ask for [the first one expected of].
        count_again: a long-lived connection made again after a loss counts as the first ones do.
        mode: what a new connection must do to count: http (a GET answered with 200), or connect.
    """

    connections: Annotated[int, Meta(ge=0, le=2000)] = 0
    new_per_s: Annotated[int, Meta(ge=1, le=1000)] = 500
    echo_interval_ms: Annotated[int, Meta(ge=10, le=10_000)] = 100
    echo_timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 2000
    mode: Literal["http", "connect"] = "http"
    service: str = ""
    count_again: bool = False


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """One fault at one instant. `CONCERNS` says which fields belong to which fault.

    Attributes:
        at_s: after the load stands.
        fault: what is done, see `faults`.
        process: a name of the node's processes, `*` allowed. `haman-agent` is the engine;
            `haman-guard`, `haman-controller` and `exabgp` are beside it.
        restart: whether the node's process 1 may start the service again, as systemd would. The
            default is yes, except for `term`, which is `systemctl stop`.
        vip: the VIP to move, or the one whose VRID a stranger takes.
        to: for failover: the node that shall take over [the best].
        force: though the others may be too busy for it.
        peer: the node that no longer gets the frames, or whose sessions end [all].
        percent: of the frames that are lost.
        only: the frames that are lost [all].
        commands: lines for the router's configuration, or of shell to `run` on the node.
        undo: lines that take them back.
        replace: texts of the node's haman.toml, and what stands in their place.
        count: clients, connections, or spinning processes.
        for_s: how long they last.
        port: of the node that slow clients connect to.
        limit: of the process: nofile (descriptors), as (bytes of address space).
        key: of the kernel parameter.
        value: of the limit or parameter.
        by_s: how far the wall clock of the node's agent is ahead from now on; negative is behind.
    """

    at_s: Annotated[float, Meta(ge=0, le=600)]
    fault: Fault
    node: str
    process: str = ""
    restart: bool | None = None
    vip: str = ""
    to: str = ""
    force: bool = False
    peer: str = ""
    percent: Annotated[int, Meta(ge=1, le=100)] = 100
    only: Only | None = None
    commands: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    replace: dict[str, str] = {}
    count: Annotated[int, Meta(ge=0, le=4000)] = 0
    for_s: Annotated[float, Meta(ge=0, le=60)] = 0
    port: Annotated[int, Meta(ge=1, le=65535)] = 80
    limit: Limit | None = None
    key: str = ""
    value: str = ""
    by_s: Annotated[int, Meta(ge=-31_536_000, le=31_536_000)] = 0


class Expect(Struct, frozen=True, forbid_unknown_fields=True):
    """What must come of it; what is absent is not judged.

    Attributes:
        holder: the one node that has each VIP in the end; "" means nobody.
        outage_ms_max: longest span without a successful new connection.
        dual_holder_ms_max: total time in which two nodes had an address.
        unheld_ms_max: total time in which none had it.
        announcers: the nodes to which the router sends each anycast service in the end, by BGP.
        stances: what the nodes say that they are to each anycast service in the end.
        route_gone_ms_max: from the first fault of a node that routers send to until none does any more.
        failing_ms_max: from the first fault to the last new connection that failed, by its start.
        floor_ms_min: total time in which the router's static routes carried a prefix.
        unrouted_ms_max: total time in which the router sent a prefix nowhere.
        moves_max: how often an address came to a node that did not have it before the first fault.
        asked: the node that is asked `haman why` [the holder].
        why_contains: what `haman why` must say there in the end, of the services expected of.
        events: types that a node must have written into its journal, by node.
        no_events: types that it must not have written.
        alerts: codes of alerts that a node must raise in the end, by node.
        conditions: what a node says that it is in the end.
    """

    holder: dict[str, str] = {}
    outage_ms_max: Ms | None = None
    failed_connections_max: Count | None = None
    lost_established_max: Count | None = None
    dual_holder_ms_max: Ms | None = None
    unheld_ms_max: Ms | None = None
    announcers: dict[str, tuple[str, ...]] = {}
    stances: dict[str, dict[str, Stance]] = {}
    route_gone_ms_max: Ms | None = None
    failing_ms_max: Ms | None = None
    floor_ms_min: Ms | None = None
    unrouted_ms_max: Ms | None = None
    moves_max: Count | None = None
    asked: str = ""
    why_contains: tuple[str, ...] = ()
    events: dict[str, tuple[str, ...]] = {}
    no_events: dict[str, tuple[str, ...]] = {}
    alerts: dict[str, tuple[str, ...]] = {}
    conditions: dict[str, str] = {}


_PLAIN = Step(0, "start", "")
FIELDS = tuple(name for name in Step.__struct_fields__ if name not in {"at_s", "fault", "node"})


class Drill(Struct, frozen=True, forbid_unknown_fields=True):
    """A drill as its file describes it; `about` is one line for people."""

    name: str
    topology: str
    step: tuple[Step, ...]
    about: str = ""
    load: Load = Load()
    expect: Expect = Expect()
    duration_s: Annotated[float, Meta(gt=0, le=900)] | None = None

    @property
    def length_s(self) -> float:
        """How long the load runs."""
        last = max(step.at_s for step in self.step)
        return self.duration_s if self.duration_s is not None else last + SETTLE_S


BOUNDS = (
    "outage_ms_max",
    "failed_connections_max",
    "unheld_ms_max",
    "route_gone_ms_max",
    "failing_ms_max",
    "unrouted_ms_max",
)
"""Expectations that a machine which is busy with other things may miss though the mechanism works."""


def relaxed(drill: Drill, slack: float) -> Drill:
    """The drill with its bounds of time, and the counts that follow from time, times `slack`.

    For machines that run other things too: there a fault is as much noticed, but later.
    """
    known = {name: getattr(drill.expect, name) for name in BOUNDS}
    wider = {
        name: math.ceil(bound * slack) if isinstance(bound, int) else bound * slack
        for name, bound in known.items()
        if bound is not None
    }
    return replace(drill, expect=replace(drill.expect, **wider))


def read_drill(path: Path) -> Drill:
    """The drill of a file.

    Raises:
        BadFileError: with every problem of the file.
    """
    drill, problems = read_leniently(path)
    if drill is None or problems:
        raise BadFileError(problems)
    return drill


def read_leniently(path: Path) -> tuple[Drill | None, list[Problem]]:
    """What can be made of a file, a wrong value counting as absent, and every problem of it."""
    try:
        tables = tomli.loads(path.read_text())
    except OSError as error:
        return None, [Problem(path, "", error.strerror or str(error))]
    except (UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        return None, [Problem(path, "", str(error))]
    findings = Findings()
    drill: Drill = build(Drill, tables, findings)
    _check(drill, findings)
    return drill, [Problem(path, key, message) for key, message in findings.found]


def _check(drill: Drill, findings: Findings) -> None:
    """Rules between fields."""
    if not drill.step:
        findings.add_rule("a drill needs at least one [[step]]", "step")
    for place, step in enumerate(drill.step, 1):
        key = f"step[{place}]"
        needed, allowed = CONCERNS.get(step.fault, ((), ()))
        for name in FIELDS:
            given = getattr(step, name) != getattr(_PLAIN, name)
            if given and name not in (*needed, *allowed):
                findings.add_rule(
                    f"the fault {step.fault} concerns no {name}", f"{key}.{name}", f"{key}.fault"
                )
            elif not given and name in needed:
                findings.add_rule(
                    f"the fault {step.fault} needs a {name}", f"{key}.{name}", f"{key}.fault"
                )
        if drill.duration_s is not None and step.at_s >= drill.duration_s:
            findings.add_rule(
                f"comes at {step.at_s:g} s, after the drill's end at {drill.duration_s:g} s",
                f"{key}.at_s",
                "duration_s",
            )
    expect = drill.expect
    told = expect.holder or (expect.asked and (expect.announcers or expect.stances))
    if expect.why_contains and not told:
        findings.add_rule(
            "needs expect.holder, or asked and announcers: whom to ask about what",
            "expect.why_contains",
        )
