"""router-config: what it prints, what the routers' own programs make of it, and what it refuses."""

import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from haman.cli.root import cli

NODE = """
[node]
name = "lb{n}"
[proxy]
kind = "process"
process = "haproxy"
[bgp]
local_as = {local_as}
router_id = "10.78.0.1{n}"
[[bgp.neighbor]]
name = "tor"
address = "10.78.0.1"
local_address = "10.78.0.1{n}"
peer_as = 65000
hold_time_s = 12
ttl_security = true
password_file = "{folder}/password"
[[bgp.neighbor]]
name = "tor-v6"
address = "fd00:78::1"
local_address = "fd00:78::1{n}"
peer_as = 65000
bfd = {{ interval_ms = 50, multiplier = 4 }}
[[anycast]]
name = "edge"
prefixes = ["192.0.2.100/32", "2001:db8::100/128"]
"""


@pytest.fixture
def nodes(tmp_path: Path) -> list[Path]:
    """Three nodes' files, the third of another AS, and the password that they share."""
    (tmp_path / "password").write_text("s3cret\n")
    paths = [tmp_path / f"lb{n}.toml" for n in (1, 2, 3)]
    for n, path in enumerate(paths, 1):
        local_as = 65003 if n == 3 else 65001
        path.write_text(NODE.format(n=n, local_as=local_as, folder=tmp_path))
    return paths


def run(router: str, paths: list[Path], *more: str) -> Result:
    files = [word for path in paths for word in ("-c", str(path))]
    return CliRunner().invoke(cli, ["router-config", router, *files, *more])


def printed(router: str, paths: list[Path], *more: str) -> list[str]:
    done = run(router, paths, *more)
    assert done.exit_code == 0, done.stderr
    return [line.strip() for line in done.stdout.splitlines()]


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def refusal(paths: list[Path], *more: str) -> str:
    done = run("frr", paths, *more)
    assert done.exit_code == 2
    assert not done.stdout
    return done.stderr


def test_frr_admits_exactly_the_prefixes_and_sends_nothing(nodes: list[Path]) -> None:
    lines = printed("frr", nodes)
    lists = [line for line in lines if "prefix-list" in line and "permit" in line]
    assert lists == [
        "ip prefix-list HAMAN-4 seq 5 permit 192.0.2.100/32",
        "ipv6 prefix-list HAMAN-6 seq 5 permit 2001:db8::100/128",
    ]
    assert "neighbor HAMAN-4 route-map HAMAN-IN-4 in" in lines
    assert "neighbor HAMAN-6 route-map HAMAN-OUT out" in lines
    assert "route-map HAMAN-OUT deny 10" in lines
    assert "no bgp default ipv4-unicast" in lines


def test_frr_has_every_node_as_neighbor_and_as_floor(nodes: list[Path]) -> None:
    lines = printed("frr", nodes)
    for n, asn in ((1, 65001), (2, 65001), (3, 65003)):
        for address in (f"10.78.0.1{n}", f"fd00:78::1{n}"):
            assert f"neighbor {address} remote-as {asn}" in lines
        assert f"neighbor 10.78.0.1{n} timers 4 12" in lines
        assert f"neighbor 10.78.0.1{n} ttl-security hops 1" in lines
        assert f"neighbor fd00:78::1{n} bfd profile HAMAN-50x4" in lines
        assert f"ip route 192.0.2.100/32 10.78.0.1{n} 250" in lines
        assert f"ipv6 route 2001:db8::100/128 fd00:78::1{n} 250" in lines
        assert f"neighbor fd00:78::1{n} ttl-security hops 1" not in lines
        assert f"neighbor 10.78.0.1{n} bfd profile HAMAN-50x4" not in lines
    assert lines.count("maximum-paths 8") == 2
    assert "bgp bestpath as-path multipath-relax" in lines


@pytest.mark.parametrize("router", ["frr", "bird"])
def test_passwords_are_shown_only_when_asked_for(nodes: list[Path], router: str) -> None:
    quiet = "\n".join(printed(router, nodes))
    assert "s3cret" not in quiet
    assert f"{nodes[0].parent / 'password'} on lb2" in quiet
    assert "s3cret" in "\n".join(printed(router, nodes, "--with-passwords"))


def test_a_password_that_cannot_be_read_or_said_is_refused(nodes: list[Path]) -> None:
    file = nodes[0].parent / "password"
    file.write_text('with "quotes"')
    assert run("frr", nodes, "--with-passwords").exit_code == 0
    done = run("bird", nodes, "--with-passwords")
    assert done.exit_code == 2
    assert "bgp.neighbor[tor].password_file" in done.stderr
    file.unlink()
    assert "cannot be read" in refusal(nodes, "--with-passwords")


def test_bird_gives_graceful_shutdown_a_meaning(nodes: list[Path]) -> None:
    lines = printed("bird", nodes)
    assert lines.count("if (65535, 0) ~ bgp_community then bgp_local_pref = 0;") == 2
    assert "if net !~ [ 192.0.2.100/32 ] then reject;" in lines
    assert "route 192.0.2.100/32 via 10.78.0.11 via 10.78.0.12 via 10.78.0.13;" in lines
    assert lines.count("merge paths on limit 8;") == 2
    assert lines.count("ttl security on;") == 3


@pytest.mark.real("bird")
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("more", [(), ("--with-passwords",), ("--neighbor", "tor-v6")])
def test_bird_accepts_it_as_it_is(nodes: list[Path], count: int, more: tuple[str, ...]) -> None:
    text = run("bird", nodes[:count], *more).stdout
    if "--neighbor" in more:
        text = f"router id 10.0.0.1;\n{text}"  # IPv6 alone: the router must have one already
    path = nodes[0].with_name("bird.conf")
    path.write_text(text)
    done = subprocess.run(
        [shutil.which("bird") or "/usr/sbin/bird", "-p", "-c", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.real("vtysh")
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("more", [(), ("--with-passwords",), ("--neighbor", "tor-v6")])
def test_frr_accepts_it_as_it_is(nodes: list[Path], count: int, more: tuple[str, ...]) -> None:
    path = nodes[0].with_name("frr.conf")
    path.write_text(run("frr", nodes[:count], *more).stdout)
    done = subprocess.run(
        ["vtysh", "-C", "-f", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_prefix_without_a_session_of_its_family_is_left_out_and_told(nodes: list[Path]) -> None:
    for router in ("frr", "bird"):
        lines = printed(router, nodes, "--neighbor", "tor")
        text = "\n".join(lines)
        assert "2001:db8::100/128 is left out" in text
        assert "fd00" not in text


def test_without_a_common_family_there_is_nothing_to_print(nodes: list[Path]) -> None:
    for path in nodes:
        change(path, '"192.0.2.100/32", ', "")
    assert "no prefix is of the address family" in refusal(nodes, "--neighbor", "tor")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("peer_as = 65000\nhold", "peer_as = 65009\nhold", "bgp.neighbor[tor].peer_as: 65009 is"),
        ('router_id = "10.78.0.12"', 'router_id = "10.78.0.11"', "bgp.router_id: 10.78.0.11 is"),
        ('"10.78.0.12"\npeer', '"10.78.0.11"\npeer', "bgp.neighbor[tor].local_address: 10.78.0.11"),
        ('name = "lb2"', 'name = "lb1"', 'node.name: "lb1" is already'),
        ('name = "tor"', 'name = "spine"', 'bgp.neighbor[spine].name: "spine" may be another'),
        ("peer_as = 65000\nhold", "peer_as = 0\nhold", "bgp.neighbor[tor].peer_as: must be"),
    ],
)
def test_files_that_do_not_fit_are_refused_with_the_key(
    nodes: list[Path], old: str, new: str, expected: str
) -> None:
    change(nodes[1], old, new)
    told = refusal(nodes)
    assert f"{nodes[1]}: {expected}" in told


def test_what_frr_cannot_do_is_refused_and_bird_can(nodes: list[Path]) -> None:
    for path in nodes[1:]:
        change(path, "ttl_security = true", "ttl_security = true\nbfd = {}")
    told = refusal(nodes).splitlines()
    assert len(told) == 2
    assert told[0].startswith(f"{nodes[1]}: bgp.neighbor[tor].ttl_security: and bfd exclude")
    assert "ttl security on;" in printed("bird", nodes)


def test_two_routers_in_one_file_must_be_told_apart(nodes: list[Path]) -> None:
    for path in nodes:
        text = path.read_text()
        second = text[text.index("[[bgp") : text.index("[[bgp", text.index("[[bgp") + 1)]
        second = second.replace('"tor"', '"tor2"').replace('"10.78.0.1"', '"10.78.0.2"')
        path.write_text(text.replace("[[anycast]]", f"{second}[[anycast]]"))
    assert "names several routers of IPv4: tor, tor2" in refusal(nodes)
    both = refusal(nodes, "--neighbor", "tor", "--neighbor", "tor2")
    assert "a router has one session with an address" in both
    assert "neighbor 10.78.0.11 remote-as 65001" in printed("frr", nodes, "--neighbor", "tor2")


def test_a_name_that_nobody_uses_is_refused_with_those_there_are(nodes: list[Path]) -> None:
    told = refusal(nodes[:1], "--neighbor", "core")
    assert f"{nodes[0]}: bgp.neighbor: none is called core; there is tor, tor-v6" in told
    assert "none is called" in refusal(nodes, "--neighbor", "tor", "--neighbor", "core")


@pytest.mark.parametrize(
    ("start", "expected"),
    [("[bgp]", "bgp: is missing"), ("[[anycast]]", "anycast: is missing")],
)
def test_a_node_that_announces_nothing_is_refused(nodes, start, expected) -> None:
    text = nodes[0].read_text()
    nodes[0].write_text(text[: text.index(start)])
    assert f"{nodes[0]}: {expected}" in refusal(nodes)


def test_a_file_that_is_not_there_is_a_problem_like_others(tmp_path: Path) -> None:
    told = refusal([tmp_path / "none.toml"])
    assert "none.toml: cannot be read: No such file" in told
