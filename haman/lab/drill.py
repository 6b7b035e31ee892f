"""Drills: a scripted fault with expectations, read from TOML with all problems at once."""

from pathlib import Path
from typing import Annotated, Literal

import tomli
from msgspec import Meta, Struct

from haman.config.walk import Findings, build
from haman.lab.topology import BadFileError, Problem

SETTLE_S = 3.0
"""After the last step, for the lab to show what it makes of it; `duration_s` says otherwise."""

Fault = Literal[
    "kill",
    "stop",
    "cont",
    "term",
    "start",
    "silence",
    "unsilence",
    "link-down",
    "link-up",
    "drain",
    "undrain",
    "failover",
    "clear-bgp",
]
Stance = Literal["full", "reduced", "shut", "withdrawn"]
ON_PROCESS = {"kill", "stop", "cont", "term"}

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
    """One fault at one instant.

    Attributes:
        at_s: after the load stands.
        fault: `start` starts what the node's list names and does not run; `clear-bgp` is the
            router's: its operator ends sessions.
        process: for kill, stop, cont and term: a name of the node's processes, `*` allowed.
            `haman-agent` is the engine; `haman-guard`, `haman-controller` and `exabgp` are beside it.
        restart: whether the node's process 1 may start the service again, as systemd would. The
            default is yes, except for `term`, which is `systemctl stop`.
        vip: for failover.
        to: for failover: the node that shall take over [the best].
        peer: for clear-bgp: the node whose sessions end [all].
    """

    at_s: Annotated[float, Meta(ge=0, le=600)]
    fault: Fault
    node: str
    process: str = ""
    restart: bool | None = None
    vip: str = ""
    to: str = ""
    peer: str = ""


class Expect(Struct, frozen=True, forbid_unknown_fields=True):
    """What must come of it; what is absent is not judged.

    Attributes:
        holder: the one node that has each VIP in the end; "" means nobody.
        outage_ms_max: longest span without a successful new connection.
        dual_holder_ms_max: total time in which two nodes had an address.
        unheld_ms_max: total time in which none had it.
        announcers: the nodes to which the router sends each anycast service in the end, by BGP.
        stances: what the nodes say that they are to each anycast service in the end.
        route_gone_ms_max: from the first fault until the router sends nothing to its node any more.
        failing_ms_max: from the first fault to the last new connection that failed, by its start.
        floor_ms_min: total time in which the router's static routes carried a prefix.
        unrouted_ms_max: total time in which the router sent a prefix nowhere.
        asked: the node that is asked `haman why` [the holder].
        why_contains: what `haman why` must say there in the end, of the services expected of.
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
    asked: str = ""
    why_contains: tuple[str, ...] = ()


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


def read_drill(path: Path) -> Drill:
    """The drill of a file.

    Raises:
        BadFileError: with every problem of the file.
    """
    try:
        tables = tomli.loads(path.read_text())
    except OSError as error:
        raise BadFileError([Problem(path, "", error.strerror or str(error))]) from error
    except (UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        raise BadFileError([Problem(path, "", str(error))]) from error
    findings = Findings()
    drill: Drill = build(Drill, tables, findings)
    _check(drill, findings)
    if findings.found:
        raise BadFileError([Problem(path, key, message) for key, message in findings.found])
    return drill


def _check(drill: Drill, findings: Findings) -> None:
    """Rules between fields."""
    if not drill.step:
        findings.add_rule("a drill needs at least one [[step]]", "step")
    for place, step in enumerate(drill.step, 1):
        key = f"step[{place}]"
        if (step.fault in ON_PROCESS) != bool(step.process):
            need = "needs a process" if step.fault in ON_PROCESS else "concerns no process"
            findings.add_rule(f"the fault {step.fault} {need}", f"{key}.process", f"{key}.fault")
        if (step.fault == "failover") != bool(step.vip):
            need = "needs a vip" if step.fault == "failover" else "concerns no vip"
            findings.add_rule(f"the fault {step.fault} {need}", f"{key}.vip", f"{key}.fault")
        if step.peer and step.fault != "clear-bgp":
            findings.add_rule(
                f"the fault {step.fault} concerns no peer", f"{key}.peer", f"{key}.fault"
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
