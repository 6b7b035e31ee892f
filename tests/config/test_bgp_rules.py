"""What is refused and what is doubted of `[bgp]` and `[[anycast]]`, with the lines that `check` prints."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from haman.cli.root import cli
from haman.config.bgp_lint import impossible
from haman.config.facts import Facts
from haman.config.lint import lint
from haman.config.model import Config
from haman.config.reader import parse, read

BASE = """
[cluster]
key_file = "/etc/haman/cluster.key"
listen = "10.77.0.11:4710"
[[cluster.peer]]
name = "lb2"
addresses = ["10.77.0.12:4710"]
[proxy]
kind = "haproxy"
socket = "/run/haproxy/admin.sock"
[proxy.probe]
address = "127.0.0.1:443"
[[vip]]
name = "web"
interface = "eth0"
vrid = 51
addresses = ["10.77.0.100/24"]
[bgp]
local_as = 65001
router_id = "10.0.1.2"
"""
BFD = "bfd = { interval_ms = 100, multiplier = 3 }"


def neighbor(
    name: str = "tor1", address: str = "10.0.1.1", local: str = "10.0.1.2", more: str = BFD
):
    return (
        f'[[bgp.neighbor]]\nname = "{name}"\naddress = "{address}"\nlocal_address = "{local}"\n'
        f"peer_as = 65000\n{more}\n"
    )


def service(name: str, *prefixes: str, more: str = "") -> str:
    quoted = ", ".join(f'"{prefix}"' for prefix in prefixes)
    return f'[[anycast]]\nname = "{name}"\nprefixes = [{quoted}]\n{more}\n'


EDGE = service("edge", "192.0.2.100/32")


def refused(text: str) -> list[str]:
    return [str(problem) for problem in parse(text, "f", hostname="lb1")[1]]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (neighbor() + service("edge", "10.77.0.0/24"), "f: anycast[edge].prefixes[1]: 10.77.0.0/24 holds the VIP 10.77.0.100 (vip[web].addresses[1])"),
        (neighbor() + service("edge", "10.77.0.100/32"), "f: anycast[edge].prefixes[1]: 10.77.0.100/32 holds the VIP 10.77.0.100 (vip[web].addresses[1])"),
        (neighbor() + service("edge", "192.0.2.100/32", "192.0.2.0/24"), "f: anycast[edge].prefixes[2]: 192.0.2.0/24 overlaps 192.0.2.100/32 (anycast[edge].prefixes[1])"),
        (neighbor() + EDGE + service("other", "192.0.2.0/24"), "f: anycast[other].prefixes[1]: 192.0.2.0/24 overlaps 192.0.2.100/32 (anycast[edge].prefixes[1])"),
        (neighbor() + EDGE + service("other", "192.0.2.100/32"), "f: anycast[other].prefixes[1]: 192.0.2.100/32 is already anycast[edge].prefixes[1]"),
        ("lease_shut_s = 10\nlease_withdraw_s = 10\n" + neighbor() + EDGE, "f: bgp.lease_withdraw_s: (10) must be more than lease_shut_s (10): routes are shut before they are withdrawn; 0 = never"),
        (neighbor(local="10.77.0.100") + EDGE, "f: bgp.neighbor[tor1].local_address: is an address of vip[web], which moves; use one that stays"),
        (service("edge", "192.0.2.100/32"), "f: bgp.neighbor: is missing: anycast services need a router to announce to"),
        (neighbor() + service("edge", "0.0.0.0/0"), "f: anycast[edge].prefixes[1]: 0.0.0.0/0 cannot be announced: it is the default route"),
        (neighbor() + service("edge", "224.0.0.1/32"), "f: anycast[edge].prefixes[1]: 224.0.0.1/32 cannot be announced: it is multicast"),
        (neighbor() + service("edge", "127.0.0.1/32"), "f: anycast[edge].prefixes[1]: 127.0.0.1/32 cannot be announced: it is loopback"),
        (neighbor() + service("edge", "192.0.2.1/32", "fe80::1/128"), "f: anycast[edge].prefixes[2]: fe80::1/128 cannot be announced: it is link-local"),
        (neighbor() + service("edge", "192.0.2.1/32", more='community = ["65001:1", "65535:0"]'), 'f: anycast[edge].community[2]: "65535:0" says that a node is shut, which haman sends itself when it is so'),
        (neighbor() + neighbor("tor2") + EDGE, "f: bgp.neighbor[tor2].address: 10.0.1.1 is already bgp.neighbor[tor1]"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(text: str, line: str) -> None:
    assert refused(BASE + text) == [line]


@pytest.mark.parametrize(
    "text",
    [
        service("edge", "192.0.2.100/32", "192.0.2.101/32", "2001:db8::/64"),
        EDGE + service("other", "192.0.3.0/24"),
    ],
)
@pytest.mark.parametrize("lease", ["", "lease_shut_s = 0\n", "lease_withdraw_s = 0\n"])
def test_what_can_be_is_not(text: str, lease: str) -> None:
    assert refused(BASE + lease + neighbor() + text) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\n", "is empty"),
        (b'se"cret\n', "holds a quote, or a character that is not printable ASCII: choose another password"),
        ("gehämm".encode(), "holds a quote, or a character that is not printable ASCII: choose another password"),
        (b"one\ntwo\n", "holds a quote, or a character that is not printable ASCII: choose another password"),
        (b"x" * 81, "holds 81 characters; TCP MD5 takes 80 at most"),
        (b"x" * 80 + b"\n", ""),
        (b"with space\\;{}\r\n", ""),
    ],
)  # fmt: skip
def test_the_password_of_a_neighbor(tmp_path: Path, content: bytes | None, message: str) -> None:
    path, secret = tmp_path / "haman.toml", tmp_path / "password"
    path.write_text(BASE + neighbor(more=f'password_file = "{secret}"') + EDGE)
    if content is not None:
        secret.write_bytes(content)
    expected = [f"{path}: bgp.neighbor[tor1].password_file: {secret} {message}"] if message else []
    assert [str(problem) for problem in read(path)[1]] == expected


def config_of(text: str) -> Config:
    config, problems = parse(BASE + text, "f", hostname="lb1")
    assert not problems, [str(p) for p in problems]
    assert config is not None
    return config


GOOD = neighbor() + EDGE


@pytest.mark.parametrize(
    ("text", "facts", "lines"),
    [
        (GOOD, Facts(), []),
        (GOOD, Facts(lateness_p99_ms=0.2, interfaces={"eth0": ("10.77.0.11/24",), "lo": ()}), []),
        (neighbor(), Facts(), ["f: bgp: warning: has no effect without an anycast service"]),
        (neighbor(more="") + EDGE, Facts(), ["f: bgp.neighbor[tor1].bfd: warning: is missing: a node that falls silent costs its clients 9 s, the hold time; with BFD it is a fraction of a second"]),
        (neighbor(more="bfd = { interval_ms = 50, multiplier = 3 }") + EDGE + "[engine]\nrealtime_priority = 0", Facts(), ["f: bgp.neighbor[tor1].bfd.interval_ms: warning: is below 100 with engine.realtime_priority = 0: a busy host will send late, and its routers will turn away from it"]),
        (neighbor(more="bfd = { interval_ms = 100, multiplier = 1 }") + EDGE, Facts(), ["f: bgp.neighbor[tor1].bfd.multiplier: warning: of 1 takes one lost packet for a dead node, after 100 ms; use 3"]),
        (neighbor(more=f"ttl_security = true\n{BFD}") + EDGE, Facts(), ["f: bgp.neighbor[tor1].ttl_security: warning: with bfd: FRR cannot have both with one neighbor; BIRD can"]),
        (neighbor() + service("edge", "192.0.2.1/32", more='community = ["blackhole"]'), Facts(), ['f: anycast[edge].community[1]: warning: "blackhole" asks routers to discard what is sent to the service (RFC 7999)']),
        ("lease_shut_s = 4\n" + GOOD, Facts(), ["f: bgp.lease_shut_s: warning: (4) is over before a controller that hangs is replaced: routers would leave a node that serves; use 5 or more, or 0 for never"]),
        ("lease_shut_s = 0\nlease_withdraw_s = 4.5\n" + GOOD, Facts(), ["f: bgp.lease_withdraw_s: warning: (4.5) is over before a controller that hangs is replaced: routers would leave a node that serves; use 5 or more, or 0 for never"]),
        ("lease_shut_s = 5\n" + GOOD, Facts(), []),
        (GOOD, Facts(lateness_p99_ms=18.0), ["f: bgp.neighbor[tor1].bfd.interval_ms: warning: is too fast for this host: its engine is 18.0 ms late in 1 of 100 wake-ups; use 180 or more"]),
        (neighbor() + service("edge", "192.0.2.0/24"), Facts(), ["f: anycast[edge].prefixes[1]: warning: 192.0.2.0/24 is announced, but no address of it is put on lo: only /32 is; see to it that the proxy has those that clients use"]),
        (neighbor() + service("edge", "2001:db8::1/128"), Facts(), ["f: anycast[edge].prefixes[1]: warning: 2001:db8::1/128 is announced to nobody: no bgp.neighbor is IPv6"]),
        (neighbor() + service("edge", "192.0.2.1/32", more='interface = "eth1"'), Facts(interfaces={"eth0": ("10.77.0.11/24",), "lo": ()}), ['f: anycast[edge].interface: warning: this host has no interface "eth1"; did you mean eth0?']),
    ],
)  # fmt: skip
def test_what_is_doubtful(text: str, facts: Facts, lines: list[str]) -> None:
    assert [str(problem) for problem in lint(config_of(text), facts, "f")] == lines


def test_a_local_address_that_the_host_lacks_is_impossible() -> None:
    six = neighbor("tor6", "2001:db8::1", "2001:db8::2")
    config = config_of(neighbor() + six + EDGE)
    line = "f: bgp.neighbor[{}].local_address: {} is no address of this host: the session with {} would never begin"
    here = Facts(addresses=frozenset({"10.0.1.2", "2001:db8:0:0::2"}))
    assert impossible(config, here, "f") == ()
    assert impossible(config, Facts(), "f") == ()
    nowhere = [str(problem) for problem in impossible(config, Facts(addresses=frozenset()), "f")]
    assert nowhere == [
        line.format("tor1", "10.0.1.2", "10.0.1.1"),
        line.format("tor6", "2001:db8::2", "2001:db8::1"),
    ]


def test_check_refuses_it_on_the_host_and_not_offline(tmp_path: Path) -> None:
    path = tmp_path / "haman.toml"
    path.write_text(BASE + neighbor(local="192.0.2.250") + EDGE)
    found = CliRunner().invoke(cli, ["check", str(path)])
    assert found.exit_code == 2
    assert found.output.startswith(
        f"{path}: bgp.neighbor[tor1].local_address: 192.0.2.250 is no address of this host"
    )
    assert CliRunner().invoke(cli, ["check", "--offline", str(path)]).exit_code == 0
    path.write_text(BASE + neighbor(address="127.0.0.2", local="127.0.0.1") + EDGE)
    assert CliRunner().invoke(cli, ["check", str(path)]).exit_code == 0
