"""A scenario: nodes, clients, and what happens. Read from TOML, the same for every policy."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Positive = Annotated[float, Meta(gt=0, le=1e9)]
Part = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]


class Event(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happens.

    Attributes:
        what: lose: nodes lose power; slow: their proxies need `times` the time for everything; hot:
            routers send them `times` their share; surge: `times` the clients come; storm: a part of
            all connections is lost and comes back.
        at_s: when.
        for_s: how long; a storm is over at once.
        nodes: how many, the first ones of each cluster [1].
        clusters: in how many clusters, the first ones; 0 = in all.
        times: how many times; see `what`.
        part: of the connections, for a storm.
    """

    what: Literal["lose", "slow", "hot", "surge", "storm"]
    at_s: Seconds
    for_s: Seconds = 60.0
    nodes: Annotated[int, Meta(ge=1, le=1000)] = 1
    clusters: Annotated[int, Meta(ge=0, le=1000)] = 0
    times: Annotated[float, Meta(ge=1, le=100)] = 2.0
    part: Part = 1.0


class Scenario(Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario as its file describes it; `about` is one line for people.

    Attributes:
        service: anycast: all nodes announce; vip: one node of a cluster holds it.
        nodes: in all.
        cluster: nodes that are peers, at most.
        capacity: full handshakes per second of a node with all of its CPU.
        capacities: the same of the first nodes, where they are known to differ.
        spread: nodes differ in capacity by up to this part.
        uneven: routers' hashes differ from fair shares by up to this part.
        load: clients that come, as a part of what all nodes (of a VIP: the holder) can do.
        diurnal: the load is this part of it at night; 1 = flat.
        period_s: of a day.
        hold_s: how long a client stays connected.
        client_timeout_s: and how long it waits.
        persistence: of the clients that failed, the part that tries again, within 2 s.
        step_ms: the grain of time.
    """

    name: str
    nodes: Annotated[int, Meta(ge=2, le=10_000)]
    duration_s: Annotated[float, Meta(gt=0, le=86_400)]
    load: Annotated[float, Meta(gt=0, le=10)]
    event: tuple[Event, ...] = ()
    about: str = ""
    service: Literal["anycast", "vip"] = "anycast"
    cluster: Annotated[int, Meta(ge=2, le=32)] = 25
    capacity: Positive = 2000.0
    capacities: tuple[Positive, ...] = ()
    spread: Annotated[float, Meta(ge=0, le=0.9)] = 0.0
    uneven: Annotated[float, Meta(ge=0, le=0.9)] = 0.0
    diurnal: Annotated[float, Meta(gt=0, le=1)] = 1.0
    period_s: Positive = 3600.0
    hold_s: Positive = 10.0
    client_timeout_s: Positive = 5.0
    persistence: Part = 0.8
    step_ms: Annotated[int, Meta(ge=100, le=5000)] = 200


def problems(scenario: Scenario) -> list[tuple[str, str, str]]:
    """What is wrong between fields: message, key, and the other key that it depends upon."""
    found = []
    for place, event in enumerate(scenario.event, 1):
        if event.at_s >= scenario.duration_s:
            text = f"comes at {event.at_s:g} s, after the end at {scenario.duration_s:g} s"
            found.append((text, f"event[{place}].at_s", "duration_s"))
        if event.what in ("lose", "slow", "hot") and event.nodes > scenario.nodes:
            text = f"concerns {event.nodes} nodes, and there are {scenario.nodes}"
            found.append((text, f"event[{place}].nodes", "nodes"))
    if len(scenario.capacities) > scenario.nodes:
        text = f"has {len(scenario.capacities)} capacities for {scenario.nodes} nodes"
        found.append((text, "capacities", "nodes"))
    if scenario.service == "vip" and scenario.nodes > scenario.cluster:
        text = f"{scenario.nodes} nodes share a VIP, more than a cluster of {scenario.cluster}"
        found.append((text, "nodes", "cluster"))
    steps = scenario.duration_s * 1000 / scenario.step_ms * scenario.nodes
    if steps > 20_000_000:
        text = "takes too long: fewer nodes, less time or a coarser step_ms"
        found.append((text, "duration_s", "step_ms"))
    return found
