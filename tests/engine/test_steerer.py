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
from haman.engine.steerer import LEARN_AT_ONCE, Job, Steerer
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
    deaf: bool = False

    def run(self, commands: str) -> str:
        if commands.startswith(self.refused):
            raise NftablesError(f"nftables: {commands} refused")
        self.done.append(commands)
        return "elements = { a expires 3s, b expires 9s }" if commands == "passed" else ""

    def connections(self, address: str) -> Iterator[bytes]:
        yield from self.sockets

    def served(self, address: str) -> int:
        if self.deaf:
            raise SockDiagError(1, "sock_diag: refused")
        return len(self.sockets)

    def steerer(self) -> Steerer:
        return Steerer(self, lambda: self)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Wish:
    """A job, as this file's tests vary it."""

    name: str = "web"
    place: str = "eth0"
    begin: tuple[str, ...] = ("begin",)
    steer: tuple[str, ...] = ("steer",)
    end: str = "end"
    learn: str = "learn"
    addresses: tuple[str, ...] = (VIP,)
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


def test_what_is_known_is_learned_between_the_table_and_its_rules() -> None:
    v6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes((0, 80, 1, 187))
    kernel = Kernel(sockets=(v6,) * (LEARN_AT_ONCE + 1))
    wish = replace(WISH, addresses=(ANYCAST,), counts=True, passed="passed")
    count = LEARN_AT_ONCE + 1
    assert kernel.steerer().reconcile([wish.job]) == [("", count, 2)]
    assert [text.partition(" ")[0] for text in kernel.done] == [
        *("begin", "learn", "learn", "steer", "passed")
    ]
    element = f"2001:db8::7 . 80 . {ANYCAST} . 443"
    assert kernel.done[2] == f"learn {{ {element} }}"
    assert kernel.done[1].count(element) == LEARN_AT_ONCE
    v4 = bytes((10, 0, 0, 7, 0, 80, 1, 187))
    assert steerer.element(v4, VIP) == f"10.0.0.7 . 80 . {VIP} . 443"


def test_sockets_that_cannot_be_counted_are_a_problem() -> None:
    kernel = Kernel(deaf=True)
    wish = replace(WISH, counts=True, stays=False)
    ((problem, connections, _),) = kernel.steerer().reconcile([wish.job])
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
