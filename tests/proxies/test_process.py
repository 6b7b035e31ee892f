"""Which processes are the proxy and which serve: reloads, masters, strangers and garbage."""

import pytest

from haman.config.model import Proxy
from haman.proxies.adapter import Surroundings, sensed_by
from haman.proxies.caddy import CaddyAdmin
from haman.proxies.envoy import EnvoyAdmin
from haman.proxies.haproxy_workers import HaproxyWorkers
from haman.proxies.nginx import NginxStatus
from haman.proxies.process import HANDOVER_LOOKS, PIDS_MAX, ProcessSet
from tests.proxies.table import FakeTable


def test_a_single_process_serves(box) -> None:
    box.table.start(10, 100)
    assert box.look() == {10}
    del box.table.rows[10]
    assert box.look() == set()


def test_a_master_does_not_serve_once_it_is_known_to_be_one(box) -> None:
    box.table.start(10, 100)
    box.table.start(11, 101, parent=10)
    assert box.look() == {10, 11}
    assert box.look() == {11}
    assert box.members == {10, 11}
    del box.table.rows[11]
    assert box.look() == set()


def test_children_of_another_name_are_not_the_proxy(box) -> None:
    box.table.start(10, 100)
    box.table.start(11, 101, parent=10, name="dataplaneapi")
    assert box.look(3) == {10}


def test_a_child_that_passes_by_makes_no_master(box) -> None:
    box.table.start(10, 100)
    for check in range(20, 30):
        box.table.start(check, check, parent=10)
        box.look()
        del box.table.rows[check]
    assert box.look() == {10}


def test_a_confirmed_process_is_never_a_master(box) -> None:
    box.table.start(10, 100)
    box.table.start(11, 101, parent=10)
    box.look()
    assert box.processes.confirm(10)
    assert box.look(3) == {10, 11}


def test_a_reload_is_no_death(box) -> None:
    box.table.start(10, 100)
    box.table.start(11, 101, parent=10)
    box.look(2)
    box.table.start(12, 500, parent=10)
    assert box.look() == {11, 12}
    assert box.processes.confirm(12)
    assert box.look() == {12}
    assert box.members == {10, 11, 12}
    del box.table.rows[11]
    assert box.look() == {12}


def test_an_old_worker_does_not_outvote_the_death_of_the_new_one(box) -> None:
    box.table.start(10, 100)
    box.table.start(11, 101, parent=10)
    box.look(2)
    box.table.start(12, 500, parent=10)
    box.look()
    box.processes.confirm(12)
    del box.table.rows[12]
    assert box.look() == set()


def test_a_reload_that_fails_leaves_the_old_worker_serving(box) -> None:
    box.table.start(10, 100)
    box.table.start(11, 101, parent=10)
    box.look(2)
    box.processes.confirm(11)
    box.table.start(12, 500, parent=10)
    box.look()
    del box.table.rows[12]
    assert box.look() == {11}


def test_a_worker_outlives_its_master(box) -> None:
    box.table.start(10, 100)
    box.table.start(11, 101, parent=10)
    box.look(2)
    del box.table.rows[10]
    box.table.start(11, 101, parent=1)
    assert box.look() == {11}


def test_a_replacement_is_known_by_its_arguments_before_the_pidfile(box) -> None:
    box.table.start(10, 100)
    box.look()
    del box.table.rows[10]
    box.table.start(44, 300)
    box.table.command_lines[44] = ("haproxy", "-f", "x", "-sf", "10", "")
    box.table.start(45, 300)
    box.table.command_lines[45] = ("haproxy", "-f", "10.cfg", "")
    assert box.look() == {44}


def test_a_master_stands_in_between_its_old_worker_and_the_new_one(box) -> None:
    box.table.start(10, 100)
    box.table.start(11, 101, parent=10)
    assert box.look(2) == {11}
    box.table.command_lines[10] = ("haproxy", "-sf", "11", "")
    del box.table.rows[11]
    assert box.look() == {10}
    assert box.look() == {10}
    box.table.start(12, 500, parent=10)
    assert box.look() == {12}
    del box.table.rows[12]
    assert box.look() == set()


def test_a_master_does_not_stand_in_for_ever(box) -> None:
    box.table.start(10, 100)
    box.table.start(11, 101, parent=10)
    box.look(2)
    box.table.command_lines[10] = ("haproxy", "-sf", "11", "")
    del box.table.rows[11]
    assert box.look() == {10}
    assert box.look(HANDOVER_LOOKS) == set()


def test_another_instance_is_no_replacement(box) -> None:
    box.table.start(10, 100)
    box.look()
    box.table.start(45, 300)
    del box.table.rows[10]
    assert box.look() == set()


def test_a_dead_worker_of_a_master_costs_no_search(box) -> None:
    box.table.start(10, 100)
    box.table.start(11, 101, parent=10)
    box.look(2)
    box.table.rows.clear()
    assert box.look() == set()
    assert box.table.searches == 0


def test_a_reused_pid_is_not_a_member(box) -> None:
    box.table.start(10, 100)
    box.look()
    box.pidfile.write_text("")
    box.table.start(10, 900, name="cron")
    assert box.look() == set()


@pytest.mark.parametrize(
    "text", ["", "\n", "haproxy", "-10", "0", "9" * 30, "1 0" * 3000, "\0\xff"]
)
def test_a_bad_pidfile_names_nobody(box, text) -> None:
    box.table.start(10, 100)
    box.pidfile.write_text(text)
    assert 10 not in box.look()


def test_no_pidfile_names_nobody(box) -> None:
    box.pidfile.unlink()
    assert box.look() == set()


def test_a_half_written_pidfile_does_not_lose_the_living(box) -> None:
    box.table.start(10, 100)
    box.look()
    box.pidfile.write_text("")
    assert box.look() == {10}


def test_several_pids_in_the_file(box) -> None:
    box.pidfile.write_text("10\n11\n")
    box.table.start(10, 100)
    box.table.start(11, 100)
    assert box.look() == {10, 11}
    del box.table.rows[10]
    assert box.look() == {11}


def test_the_number_of_members_is_bounded(box) -> None:
    box.table.start(10, 100)
    for pid in range(1000, 1500):
        box.table.start(pid, pid, parent=10)
    box.look()
    assert len(box.members) <= 2 * PIDS_MAX


def test_by_name() -> None:
    table = FakeTable()
    processes = ProcessSet(table, name="envoy")
    table.start(7, 70, name="envoy")
    processes.look()
    assert [p.pid for p in processes.serving] == [7]
    searches = table.searches
    processes.look()
    assert table.searches == searches
    table.start(8, 80, name="envoy")
    processes.look(wide=True)
    assert {p.pid for p in processes.serving} == {7, 8}
    table.rows.clear()
    processes.look()
    assert not processes.serving
    table.start(9, 90, name="envoy")
    processes.look()
    assert [p.pid for p in processes.serving] == [9]


def test_an_answer_from_a_stranger_confirms_nothing(box) -> None:
    box.table.start(10, 100)
    box.look()
    assert not box.processes.confirm(99)
    assert box.look() == {10}


class NoCalls:
    """A kernel that counts nothing."""

    def follow(self, pids) -> None:
        pass

    def read(self) -> str:
        return "not here"

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("proxy", "kind"),
    [
        (Proxy(kind="haproxy", socket="/s"), HaproxyWorkers),
        (Proxy(kind="nginx", status="unix:/s:/status"), NginxStatus),
        (Proxy(kind="nginx", status="http://127.0.0.1:81/status"), NginxStatus),
        (Proxy(kind="envoy", admin="http://127.0.0.1:9901"), EnvoyAdmin),
        (Proxy(kind="envoy", admin="unix:/s"), EnvoyAdmin),
        (Proxy(kind="caddy", admin="http://localhost:2019"), CaddyAdmin),
        (Proxy(kind="process", process="x"), type(None)),
    ],
    ids=str,
)
def test_the_adapter_of_each_kind(box, proxy, kind) -> None:
    sensed = sensed_by(proxy, Surroundings(box.processes, box.table, NoCalls()))
    assert type(sensed.adapter) is kind
    assert sensed.problem == ""


@pytest.mark.parametrize(
    ("proxy", "problem"),
    [
        (Proxy(kind="haproxy", pidfile="/p"), "proxy.socket is not set: haproxy cannot be asked"),
        (Proxy(kind="nginx", pidfile="/p"), "proxy.status is not set"),
        (Proxy(kind="envoy", pidfile="/p"), "proxy.admin is not set"),
        (Proxy(kind="envoy", admin="https://127.0.0.1"), "only http:// and unix: are asked"),
        (Proxy(kind="caddy", admin="http://lb1:2019"), "names are not looked up"),
    ],
    ids=str,
)
def test_a_proxy_that_cannot_be_asked_is_sensed_by_its_processes(box, proxy, problem) -> None:
    sensed = sensed_by(proxy, Surroundings(box.processes, box.table, NoCalls()))
    assert sensed.adapter is None
    assert problem in sensed.problem
