"""The process that keeps the rules of tails: what it makes of what it is told, and how little it reads."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import haman
from haman.engine import steerer
from haman.engine.knowledge import KEPT, KNOWN, LEARN_AT_ONCE, UNKNOWN, element
from haman.engine.steerer import LOOK_S, Job, Steerer
from haman.system.inet_diag import SockDiagError
from haman.system.nftables import NftablesError

ROOT = Path(haman.__file__).parents[1]
VIP, ANYCAST = "10.77.0.100", "2001:db8::100"


@dataclass
class Kernel:
    """Takes what is done, but what begins with one of `refused`."""

    refused: tuple[str, ...] = ()
    done: list[str] = field(default_factory=list)
    sockets: tuple[bytes, ...] = ()
    cookie: bytes = b"socket-1"
    deaf: bool = False
    now_s: float = 0.0

    def run(self, commands: str) -> str:
        if commands.startswith(self.refused):
            raise NftablesError(f"nftables: {commands} refused")
        self.done.append(commands)
        return "elements = { a expires 3s, b expires 9s }" if commands == "passed" else ""

    def connections(self, address: str) -> Iterator[tuple[bytes, bytes, bool]]:
        if self.deaf:
            raise SockDiagError(1, "sock_diag: refused")
        return ((each, self.cookie, True) for each in self.sockets)

    def steerer(self) -> Steerer:
        return Steerer(self, lambda: self, lambda: self.now_s)  # type: ignore[arg-type]

    @property
    def learned(self) -> list[str]:
        """What was done to the set, and forget it."""
        found = [text for text in self.done if " element " in text]
        self.done.clear()
        return found


@dataclass(frozen=True)
class Wish:
    """A job, as this file's tests vary it."""

    name: str = "web"
    place: str = "eth0"
    begin: tuple[str, ...] = ("begin",)
    steer: tuple[str, ...] = ("steer",)
    end: str = "end"
    table: str = "netdev web"
    addresses: tuple[str, ...] = (VIP,)
    former: str = KNOWN
    counts: bool = False
    passed: str = ""
    stays: bool = True

    @property
    def job(self) -> Job:
        return Job(**{name: getattr(self, name) for name in Job.__slots__})


WISH = Wish()


def test_rules_are_made_once_and_replaced_when_they_change() -> None:
    kernel = Kernel()
    keeper = kernel.steerer()
    for wish in (WISH, WISH, replace(WISH, steer=("anew",)), replace(WISH, steer=("anew",))):
        assert keeper.reconcile([wish.job]) == [("", None, 0)]
    assert kernel.done == ["begin", "steer", "anew"]
    assert keeper.reconcile([]) == []
    assert keeper.reconcile([]) == []
    assert kernel.done[3:] == ["end"]


def test_what_a_table_cannot_change_makes_another_one() -> None:
    kernel = Kernel()
    keeper = kernel.steerer()
    keeper.reconcile([WISH.job])
    keeper.reconcile([replace(WISH, place="eth1").job])
    assert kernel.done == ["begin", "steer", "end", "begin", "steer"]


def test_a_kernel_that_refuses_the_first_variant_gets_the_second_from_then_on() -> None:
    kernel = Kernel(refused=("egress",))
    wish = replace(WISH, begin=("egress", "begin"), steer=("egress steer", "steer"))
    keeper = kernel.steerer()
    assert keeper.reconcile([wish.job]) == [("", None, 0)]
    assert keeper.reconcile([wish.job, replace(wish, name="db").job]) == [("", None, 0)] * 2
    assert kernel.done == ["begin", "steer"] * 2


def test_what_is_refused_in_every_variant_is_told_and_tried_again() -> None:
    kernel = Kernel(refused=("egress", "begin"))
    wish = replace(WISH, begin=("egress", "begin"), steer=("egress steer", "steer"))
    keeper = kernel.steerer()
    assert keeper.reconcile([wish.job]) == [("nftables: begin refused", None, 0)]
    kernel.refused = ()
    assert keeper.reconcile([wish.job]) == [("", None, 0)]
    assert kernel.done == ["egress", "egress steer"]


def test_rules_that_never_came_into_force_leave_nothing() -> None:
    kernel = Kernel(refused=("steer",))
    keeper = kernel.steerer()
    assert keeper.reconcile([WISH.job]) == [("nftables: steer refused", None, 0)]
    assert kernel.done == ["begin", "end"]


@pytest.mark.parametrize(("stays", "then"), [(True, []), (False, ["end"])])
def test_new_rules_that_are_refused(stays: bool, then: list[str]) -> None:
    kernel = Kernel()
    keeper = kernel.steerer()
    keeper.reconcile([replace(WISH, stays=stays).job])
    kernel.refused = ("anew",)
    wish = replace(WISH, stays=stays, steer=("anew",))
    assert keeper.reconcile([wish.job]) == [("nftables: anew refused", None, 0)]
    assert kernel.done[2:] == then


def client(number: int) -> bytes:
    """A connection of one client to port 443."""
    return bytes((10, 0, 0, 7)) + (40_000 + number).to_bytes(2, "big") + bytes((1, 187))


def texts(*numbers: int) -> str:
    return ", ".join(element(client(number), VIP) for number in numbers)


def test_what_is_known_is_learned_between_the_table_and_its_rules() -> None:
    many = tuple(map(client, range(LEARN_AT_ONCE + 1)))
    kernel = Kernel(sockets=many)
    wish = replace(WISH, counts=True, passed="passed")
    assert kernel.steerer().reconcile([wish.job]) == [("", len(many), 2)]
    assert [text.partition(" ")[0] for text in kernel.done] == [
        *("begin", "add", "add", "steer", "passed")
    ]
    assert [text.count(" . ") // 3 for text in kernel.done[1:3]] == [LEARN_AT_ONCE, 1]
    every = {text for each in kernel.done[1:3] for text in each[:-2].partition("{ ")[2].split(", ")}
    assert every == {element(each, VIP) for each in many}


def test_a_connection_in_a_set() -> None:
    v6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes((0, 80, 1, 187))
    assert element(v6, ANYCAST) == f"2001:db8::7 . 80 . {ANYCAST} . 443"
    v4 = bytes((10, 0, 0, 7, 0, 80, 1, 187))
    assert element(v4, VIP) == f"10.0.0.7 . 80 . {VIP} . 443"


def looks(kernel: Kernel, keeper: Steerer, wish: Wish, *sockets: int) -> list[str]:
    """What a look that finds these sockets does to the set."""
    kernel.now_s += LOOK_S
    kernel.sockets = tuple(map(client, sockets))
    kernel.done.clear()
    assert keeper.reconcile([wish.job]) == [("", None, 0)]
    return kernel.learned


def test_known_is_what_has_a_socket_at_two_looks() -> None:
    kernel = Kernel(sockets=(client(1),))
    keeper = kernel.steerer()
    keeper.reconcile([WISH.job])
    assert kernel.learned == [f"add element netdev web known {{ {texts(1)} }}"]
    assert looks(kernel, keeper, WISH, 1, 2) == []
    assert looks(kernel, keeper, WISH, 1, 2) == [f"add element netdev web known {{ {texts(2)} }}"]
    assert looks(kernel, keeper, WISH, 2) == []
    assert looks(kernel, keeper, WISH, 1, 2) == []
    assert looks(kernel, keeper, WISH, 2) == []
    assert looks(kernel, keeper, WISH, 2) == [f"delete element netdev web known {{ {texts(1)} }}"]


def test_it_looks_no_oftener_than_it_has_time_for() -> None:
    kernel = Kernel()
    keeper = kernel.steerer()
    keeper.reconcile([WISH.job])
    looks(kernel, keeper, WISH, 1)
    kernel.now_s -= LOOK_S / 2
    assert looks(kernel, keeper, WISH, 1) == []
    assert looks(kernel, keeper, WISH, 1) != []


def test_what_was_there_before_is_not_known_until_its_port_has_another_socket() -> None:
    kernel = Kernel(sockets=(client(1),))
    keeper = kernel.steerer()
    wish = replace(WISH, former=UNKNOWN)
    keeper.reconcile([wish.job])
    assert kernel.learned == []
    assert looks(kernel, keeper, wish, 1, 2) == []
    assert looks(kernel, keeper, wish, 1, 2) == [f"add element netdev web known {{ {texts(2)} }}"]
    kernel.cookie = b"socket-2"
    assert looks(kernel, keeper, wish, 1, 2) == []
    assert looks(kernel, keeper, wish, 1, 2) == [f"add element netdev web known {{ {texts(1)} }}"]


def test_who_takes_what_he_gave_keeps_what_he_knows_and_who_gives_knows_all() -> None:
    kernel = Kernel(sockets=(client(1),))
    keeper = kernel.steerer()
    taking = replace(WISH, former=UNKNOWN, steer=("take",))
    keeper.reconcile([WISH.job])
    assert looks(kernel, keeper, taking, 1) == []
    assert looks(kernel, keeper, WISH, 1) == []
    kernel = Kernel(sockets=(client(1),))
    keeper = kernel.steerer()
    keeper.reconcile([taking.job])
    assert looks(kernel, keeper, replace(taking, former=KEPT), 1) == []
    assert looks(kernel, keeper, WISH, 1) == [f"add element netdev web known {{ {texts(1)} }}"]


def test_sockets_that_cannot_be_counted_are_a_problem() -> None:
    kernel = Kernel()
    wish = replace(WISH, counts=True, stays=False)
    keeper = kernel.steerer()
    assert keeper.reconcile([wish.job]) == [("", 0, 0)]
    kernel.deaf = True
    ((problem, connections, _),) = keeper.reconcile([wish.job])
    assert "sock_diag" in problem
    assert connections is None
    assert kernel.done == ["begin", "steer", "end"]


def test_a_message_says_what_was_packed() -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kernel = Kernel()
    with here, there:
        here.send(steerer.pack([WISH.job, replace(WISH, name="db", end="").job]))
        here.shutdown(socket.SHUT_WR)
        steerer.serve(there, 5.0, kernel.steerer())
        assert steerer.outcomes(here.recv(4096)) == [("", None, 0)] * 2
    assert kernel.done == ["begin", "steer"] * 2


def test_silence_ends_it() -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here, there:
        steerer.serve(there, 0.01, Kernel().steerer())


def test_a_planned_move_waits_for_no_more_than_a_bare_interpreter() -> None:
    """It is started on every node first; each of these took longer than all that it needs."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import haman.engine.steerer\n"
    code += "print(*sys.modules)"
    done: Any = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "haman.engine.steerer" in loaded
    assert not loaded & {"dataclasses", "inspect", "json", "msgspec", "pathlib", "re", "typing"}
