"""The pair under adversity: whatever breaks, no held address is lost, no released one is kept.

And what `haman status` and `haman why` say of it is true.
"""

import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.lab.adversity import NODES, Pair, eventually, pair_of_agents

pytestmark = [pytest.mark.privileged, pytest.mark.real("haproxy")]

STATS_SOCKET = "/run/haproxy/admin.sock"
IMPOSTOR = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind({path!r})
listener.listen(64)
print("ready", flush=True)
kept = []
while True:
    asked, _ = listener.accept()
    if {answer!r}:
        asked.recv(4096)
        asked.sendall({answer!r})
        asked.close()
    else:
        kept = [*kept[-9:], asked]
"""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_of_agents(tmp_path / "tree") as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair_of_agents(tmp_path_factory.mktemp("shared") / "tree") as made:
        yield made


@pytest.fixture
def calm(shared: Pair) -> Iterator[Pair]:
    """A pair that tests share which leave it as they found it, with no address moved."""
    shared.be_well()
    yield shared
    shared.end()


def has_condition(pair: Pair, node: str, condition: str) -> bool:
    return pair.status(node).nodes[0].condition == condition


def has_state(pair: Pair, node: str, state: str) -> bool:
    return pair.status(node).services[0].state == state


def sensed(pair: Pair, node: str) -> dict[str, float | None]:
    own = pair.status(node).nodes[0]
    return {resource.name: resource.used for resource in own.resources}


# ---- (a) the stats socket ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "no answer within"),
        (b"\x00\xff garbage\n\n1,2,3\n\n", "is no header"),
        (None, "does not exist"),
    ],
    ids=["hangs", "lies", "vanishes"],
)
def test_a_stats_socket_that_breaks_moves_nothing_and_is_told(
    calm: Pair, answer: bytes | None, said: str
) -> None:
    pair = calm
    with pair.unmoved():
        pair.sh("lb1", f"mv {STATS_SOCKET} {STATS_SOCKET}.real")
        if answer is not None:
            pair.spawn("lb1", IMPOSTOR.format(path=STATS_SOCKET, answer=answer))
        # At first it may say that the socket is not there: until the impostor has started.
        eventually(lambda: said in pair.alert("lb1", "stats-unavailable"))
        assert "in-service is held" in pair.alert("lb1", "stats-unavailable")
        # What it told before grows old and becomes unknown, never 0; the kernel's word goes on.
        eventually(lambda: sensed(pair, "lb1")["tls"] is None)
        eventually(lambda: sensed(pair, "lb1")["connections"] is None)
        assert sensed(pair, "lb1")["cpu"] is not None
        assert pair.role("lb1").role == "active"
        pair.end()
        pair.sh("lb1", f"mv {STATS_SOCKET}.real {STATS_SOCKET}")
        pair.be_well()


def test_a_proxy_dies_behind_a_stats_socket_that_hangs(pair: Pair) -> None:
    pair.sh("lb1", f"mv {STATS_SOCKET} {STATS_SOCKET}.real")
    pair.spawn("lb1", IMPOSTOR.format(path=STATS_SOCKET, answer=b""))
    pair.be_alerted("stats-unavailable", nodes=("lb1",))
    pair.signal("lb1", "haproxy", signal.SIGKILL)
    pair.settle_on("lb2")
    eventually(lambda: "proxy-died" in pair.reasons("lb2", of="lb1"))


# ---- (b) the disk --------------------------------------------------------------------------


def test_a_full_disk_refuses_what_must_be_durable_and_nothing_else(pair: Pair) -> None:
    pair.sh("lb1", "mount -t tmpfs -o size=256k full /var/lib/haman")
    pair.restart_agent("lb1")
    pair.settle_on("lb1")
    pair.sh("lb1", "dd if=/dev/zero of=/var/lib/haman/ballast bs=4k 2>/dev/null || true")
    with pair.unmoved():
        done = pair.haman("lb1", "drain", "--force")
        assert done.returncode == 1
        assert "not on disk" in done.stderr
        assert not pair.status("lb1").nodes[0].drained
        pair.be_alerted("journal-not-durable", nodes=("lb1",))
        assert "lb1" in pair.status("lb1").services[0].holders
    pair.signal("lb1", "haproxy", signal.SIGKILL)
    pair.settle_on("lb2")
    assert "full" in pair.alert("lb1", "journal-not-durable")
    assert "vip-released" in pair.events("lb1")  # from memory
    pair.sh("lb1", "rm /var/lib/haman/ballast")
    eventually(lambda: not pair.alert("lb1", "journal-not-durable"))


# ---- (c) the controller --------------------------------------------------------------------


def test_a_controller_that_is_killed_takes_nothing_along(calm: Pair) -> None:
    pair = calm
    with pair.unmoved():
        (before,) = pair.pids("lb1", "haman-controller")
        pair.signal("lb1", "haman-controller", signal.SIGKILL)
        eventually(lambda: pair.pids("lb1", "haman-controller") not in ([], [before]))
        pair.be_well()
    assert "controller-died" in pair.events("lb1")
    assert "lb1 serves" in pair.why("lb1")


def test_a_frozen_controller_is_stale_to_its_peer_and_moves_nothing(calm: Pair) -> None:
    pair = calm
    with pair.unmoved():
        pair.signal("lb1", "haman-controller", signal.SIGSTOP)
        pair.be_alerted("isolated", "peer-lost", nodes=("lb2",))
        assert pair.status("lb2").nodes[1].condition == "stale"
        assert pair.status("lb2").services[0].holders == ("lb1",)
        assert "last heard" in pair.why("lb2")
        assert "stale" in pair.reasons("lb2", of="lb1")
        pair.signal("lb1", "haman-controller", signal.SIGCONT)
        pair.be_well()


# ---- (d) drain -----------------------------------------------------------------------------


def test_a_drain_lasts_over_a_restart_and_never_leaves_nobody(pair: Pair) -> None:
    assert pair.haman("lb1", "drain", "--wait").returncode == 0
    pair.settle_on("lb2")
    pair.restart_agent("lb1")
    eventually(lambda: pair.role("lb1").role == "released")
    assert pair.status("lb1").nodes[0].drained
    eventually(lambda: "drained" in pair.reasons("lb2", of="lb1"))
    with pair.unmoved():
        refused = pair.haman("lb2", "drain")
        assert refused.returncode == 1
        assert "no other node can serve web" in refused.stderr
        assert "lb1 is drained" in refused.stderr
        assert not pair.status("lb2").nodes[0].drained
        forced = pair.haman("lb2", "drain", "--force")
        assert forced.returncode == 0, forced.stderr
        eventually(lambda: pair.role("lb2").priority == 1)
        assert pair.role("lb2").role == "active"
        assert "last-resort" in {reason.code for reason in pair.role("lb2").reasons}
        pair.be_alerted("all-drained")
    assert pair.haman("lb1", "undrain").returncode == 0
    pair.settle_on("lb1")
    eventually(lambda: pair.role("lb2").role == "released")
    assert pair.haman("lb1", "undrain", "lb2").returncode == 0
    pair.be_well()
    assert pair.holders() == ("lb1",)


# ---- (e) failover and pause ----------------------------------------------------------------


def test_a_failover_is_not_preempted_back_and_still_no_trap(pair: Pair) -> None:
    done = pair.haman("lb1", "failover", "web")
    assert done.returncode == 0, done.stderr
    pair.settle_on("lb2")
    eventually(lambda: "yielded" in {r.code for r in pair.role("lb1").reasons})
    pair.restart_agent("lb1")
    eventually(lambda: pair.role("lb1").role == "backup")
    assert pair.holders() == ("lb2",)
    pair.signal("lb2", "haproxy", signal.SIGKILL)
    pair.settle_on("lb1")
    eventually(lambda: "yielded" not in {r.code for r in pair.role("lb1").reasons})


def test_pause_holds_preemption_but_no_fault(pair: Pair) -> None:
    assert pair.haman("lb2", "pause").returncode == 0
    eventually(lambda: pair.status("lb1").paused)
    pair.restart_agent("lb1")
    eventually(lambda: pair.role("lb1").role == "backup")
    pair.settle_on("lb2")
    with pair.unmoved():  # priority 150 hears priority 100, for many advert intervals
        eventually(lambda: "paused" in {r.code for r in pair.role("lb1").reasons})
        time.sleep(1)
    assert "paused" in pair.why("lb1")
    pair.signal("lb2", "haproxy", signal.SIGKILL)
    pair.settle_on("lb1")
    pair.start_all("lb2")
    eventually(lambda: pair.role("lb2").role == "backup")
    pair.restart_agent("lb1")
    pair.settle_on("lb2")
    eventually(lambda: pair.role("lb1").role == "backup")
    assert pair.haman("lb2", "resume").returncode == 0
    pair.settle_on("lb1")
    pair.be_well()


# ---- (f) the peers' channel ----------------------------------------------------------------


def test_peers_that_do_not_hear_each_other_move_nothing_and_say_so(calm: Pair) -> None:
    pair = calm
    with pair.unmoved():
        pair.cut("lb1", "udp dport 4710")
        pair.be_alerted("isolated", "peer-lost")
        for node in NODES:
            eventually(partial(has_condition, pair, node, "isolated"))
            assert pair.status(node).services[0].holders == ("lb1",)
        assert "last heard" in pair.why("lb2")
        assert "stale" in pair.reasons("lb2", of="lb1")
        refused = pair.haman("lb1", "drain")
        assert refused.returncode == 1
        assert "counts as full" in refused.stderr
        pair.mend("lb1")
        pair.be_well()


def test_a_wrong_key_is_counted_and_told_and_moves_nothing(calm: Pair) -> None:
    pair, key = calm, "/etc/haman/cluster.key"
    with pair.unmoved():
        pair.sh("lb2", f"cp -p {key} /run/key; umount {key} || true; rm {key}; haman keygen {key}")
        pair.signal("lb2", "haman-agent", signal.SIGHUP)
        pair.be_alerted("not-authentic", "isolated")
        for node in NODES:
            assert "unknown-key" in pair.alert(node, "not-authentic")
            assert pair.status(node).services[0].holders == ("lb1",)
        pair.sh("lb2", f"cp -p /run/key {key}")
        pair.signal("lb2", "haman-agent", signal.SIGHUP)
        eventually(lambda: not pair.alert("lb1", "isolated"))
        pair.be_well()


def test_a_reload_is_taken_over_by_engine_and_controller_or_by_neither(calm: Pair) -> None:
    pair, file, key = calm, "/etc/haman/haman.toml", "/etc/haman/cluster.key"

    def reload(script: str, outcome: str) -> None:
        told = pair.events("lb2").count(outcome)
        pair.sh("lb2", script)
        pair.signal("lb2", "haman-agent", signal.SIGHUP)
        eventually(lambda: pair.events("lb2").count(outcome) > told)

    with pair.unmoved():
        pair.sh(
            "lb2",
            f"cp -p {key} /run/key; umount {key} || true; cp -p {file} /run/conf; umount {file}",
        )
        accepted = pair.events("lb2").count("reloaded")
        edited = f"sed s/priority.=.100/priority=90/ /run/conf >{file}"
        reload(f"{edited}; echo nonsense >{key}", "reload-refused")
        assert pair.events("lb2").count("reloaded") == accepted
        assert pair.role("lb2").priority == 100
        reload(f"cp -p /run/key {key}", "reload-completed")
        eventually(lambda: pair.role("lb2").priority == 90)
        reload(f"cp -p /run/conf {file}", "reload-completed")
        eventually(lambda: pair.role("lb2").priority == 100)
        pair.be_well()


# ---- (g) the adverts -----------------------------------------------------------------------


def test_adverts_that_do_not_pass_are_a_conflict_that_both_shout(pair: Pair) -> None:
    for node in NODES:
        pair.cut(node, "meta l4proto 112")
    eventually(lambda: pair.holders() == ("lb1", "lb2"))
    pair.be_alerted("conflict")
    for node in NODES:
        eventually(partial(has_state, pair, node, "conflict"))
        assert "web is held by lb1 and lb2 at once" in pair.alert(node, "conflict")
        assert "conflict" in pair.why(node)
    for node in NODES:
        pair.mend(node)
    pair.settle_on("lb1")
    for node in NODES:
        eventually(partial(has_state, pair, node, "ok"))
