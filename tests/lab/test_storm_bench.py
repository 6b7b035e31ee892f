"""What the storm is made of: its clients, what they were, and the table; its figures are not tests."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from haman.cli.scenario import read_scenario
from haman.config.reader import read
from haman.lab.anycast_peers import HEALTHCHECK_CONF
from haman.lab.clients import Client, Clients, Order, Phase, Result
from haman.lab.runtime import LabError
from haman.lab.services import CONFIGURATION
from haman.lab.storm_bench import (
    compare,
    demand_cores,
    phases_of,
    playing,
    to_markdown,
    to_ran,
)
from haman.lab.topology import read_topology
from haman.sim.fleet.scenario import Event
from tests.proxies.rig import certificate

SHIPPED = Path(__file__).parents[2] / "lab"
SCENARIO = read_scenario(SHIPPED / "scenarios" / "three-storm.toml")


def test_the_shipped_scenario_is_one_that_the_lab_can_play() -> None:
    calm, storm, after = phases_of(SCENARIO)
    assert (calm.seconds, storm.seconds, after.seconds) == (10, 40, 10)
    assert storm.per_s > calm.per_s == after.per_s
    share = storm.per_s / SCENARIO.nodes
    assert share > SCENARIO.capacities[0], "more than the small one can do"
    assert storm.per_s < 0.9 * sum(SCENARIO.capacities), "less than all can"
    assert SCENARIO.hold_s <= 0.1, "the lab's clients hang up when they are served"


@pytest.mark.parametrize(
    "event",
    [Event("lose", 10), Event("surge", 5, for_s=20, times=2)],
    ids=["another event", "two at once"],
)
def test_what_the_lab_cannot_play_is_refused(event: Event) -> None:
    with pytest.raises(LabError, match="three-storm: the lab plays surges"):
        phases_of(msgspec.structs.replace(SCENARIO, event=(*SCENARIO.event, event)))


def test_a_scenario_of_another_size_is_refused_before_anything_is_started() -> None:
    five = read_scenario(SHIPPED / "scenarios" / "five-tight.toml")
    with pytest.raises(LabError, match=r"five-tight is not for .*capacities. of its 3 nodes"):
        compare(SHIPPED / "anycast.clab.yml", five, lambda _: pytest.fail("no key is needed"))


def test_nodes_are_told_their_ceilings(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    shutil.copytree(SHIPPED, tmp_path / "lab")
    topology = read_topology(tmp_path / "lab" / "anycast.clab.yml")
    nodes = dict(zip(("lb1", "lb2", "lb3"), SCENARIO.capacities, strict=True))
    ready, services = playing(topology, nodes, SCENARIO, "haman")
    assert services is None, "haman's own files say it"
    ceilings = {}
    for node in ready.nodes:
        for bind in node.binds:
            if bind.target == CONFIGURATION:
                config, problems = read(bind.source)
                assert not problems
                assert config is not None
                ceilings[node.name] = config.saturation.resource["tls"].ceiling
    assert ceilings == {name: pytest.approx(0.9 * each) for name, each in nodes.items()}


@pytest.mark.parametrize("policy", ["nothing", "naive"])
def test_without_haman_a_check_at_hard_of_the_ceiling_is_all_there_is(
    tmp_path: Path, policy: str
) -> None:
    (tmp_path / ".git").mkdir()
    shutil.copytree(SHIPPED, tmp_path / "lab")
    topology = read_topology(tmp_path / "lab" / "anycast.clab.yml")
    nodes = dict(zip(("lb1", "lb2", "lb3"), SCENARIO.capacities, strict=True))
    ready, services = playing(topology, nodes, SCENARIO, policy)
    assert services is not None
    texts = {
        (node.name, bind.target): bind.source.read_text()
        for node in ready.nodes
        for bind in node.binds
        if bind.source.is_file()
    }
    assert not any(target == CONFIGURATION for _, target in texts)
    assert " 250\n" not in texts["router", "/etc/frr/frr.conf"], "no floor"
    for name, limit in {"lb1": "40.5", "lb2": "97.2"}.items():
        told = texts[name, HEALTHCHECK_CONF]
        assert {"interval = 1", "fall = 1", "rise = 1"} <= set(told.splitlines())
        assert (f"command = python3 -m haman.lab.busy {limit}\n" in told) == (policy == "naive")
        assert ("command" in told) == (policy == "naive")


def test_quotas_that_are_no_limits_are_refused() -> None:
    demand_cores({"lb1": 0.1, "lb2": 0.2}, 2)
    with pytest.raises(
        LabError, match=r"quotas of lb1 10 %, lb2 308 % .* there are 2 cores: .* busy"
    ):
        demand_cores({"lb1": 0.1, "lb2": 3.08}, 2)


@asynccontextmanager
async def served(tmp_path: Path, *, every: int) -> AsyncIterator[tuple[str, int]]:
    """A TLS server that answers one connection in `every`, and is silent to the others."""
    file = tmp_path / "tls.pem"
    file.write_text(certificate())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    count = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count % every == 0:
            writer.write(b"HTTP/1.1 200 OK\r\nserved-by: lb1\r\n\r\n")
        await reader.read()
        writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()


async def play(tmp_path: Path, *, every: int, persistence: float) -> Result:
    async with served(tmp_path, every=every) as (host, port):
        order = Order(
            host,
            (Phase(0.3, 20), Phase(0.2, 50)),
            port,
            timeout_s=3.0 if every == 1 else 0.3,
            persistence=persistence,
            within_s=0.1,
        )
        return await Clients(order).run()


async def test_every_client_comes_and_is_served_once(tmp_path: Path) -> None:
    result = await play(tmp_path, every=1, persistence=0.8)
    assert len(result.clients) == 16
    assert {(c.tries, c.node) for c in result.clients} == {(1, "lb1")}
    assert all(c.served_s is not None and c.served_s >= c.came_s for c in result.clients)


async def test_who_is_not_served_comes_again_or_gives_up(tmp_path: Path) -> None:
    stubborn = await play(tmp_path, every=2, persistence=1.0)
    assert all(c.served_s is not None for c in stubborn.clients)
    assert max(c.tries for c in stubborn.clients) > 1
    meek = await play(tmp_path, every=2, persistence=0.0)
    gave_up = [c for c in meek.clients if c.served_s is None]
    assert gave_up
    assert {c.tries for c in meek.clients} == {1}


def test_the_table_counts_by_phase_and_names_the_model_beside() -> None:
    order = Order("192.0.2.100", phases_of(SCENARIO))
    clients = tuple(Client(at, 1, at + 0.5) for at in range(60) for _ in range(7))
    lost = (Client(20.0, 5),)
    ran = to_ran("haman", Result(order, (*clients, *lost), 0.02, 1), (4.0,) * 60)
    assert (ran.gave_up, ran.tries) == (2, 425)
    assert ran.came[20] == 8
    assert ran.goodput[20] == 7
    alone = msgspec.structs.replace(ran, policy="nothing", model=())
    lines = to_markdown(SCENARIO, [alone, ran]).splitlines()
    assert lines[2] == "| nothing | 7 | 7 | 7 | 1.01 | 2 of 421 |"
    assert lines[3] == "| haman | 7 (model 4) | 7 (model 4) | 7 (model 4) | 1.01 | 2 of 421 |"
    assert "0.02 s late" in lines[-1]


def test_a_run_whose_clients_were_late_counts_for_nothing() -> None:
    order = Order("192.0.2.100", phases_of(SCENARIO))
    good = to_ran("nothing", Result(order, (), 0.1, 0))
    late = to_ran("naive", Result(order, (), 77.2, 0))
    last = to_markdown(SCENARIO, [good, late]).splitlines()[-1]
    assert last.startswith("**naive: clients came too late")
