"""Every problem of a configuration file, with the exact line that `haman check` prints."""

import pytest

from haman.config.model import Config
from haman.config.reader import parse

MINIMAL = """
[proxy]
kind = "haproxy"
socket = "/run/haproxy/admin.sock"
"""

PAIR = """
[node]
name = "lb1"
site = "ams1"
[cluster]
name = "edge"
key_file = "/etc/haman/cluster.key"
listen = "10.77.0.11:4710"
[[cluster.peer]]
name = "lb2"
addresses = ["10.77.0.12:4710", "10.78.0.12:4710"]
[proxy]
kind = "haproxy"
socket = "/run/haproxy/admin.sock"
[proxy.probe]
address = "127.0.0.1:443"
tls = true
[saturation.resource.tls]
ceiling = 2000
unit = "full/s"
[[vip]]
name = "web"
interface = "eth0"
vrid = 51
priority = 150
addresses = ["10.77.0.100/24", "2001:db8::100/64"]
advert_interval_ms = 100
preempt_delay_s = 2
[[vip]]
name = "old"
interface = "eth0"
vrid = 52
addresses = ["10.77.0.101/32"]
version = 2
unicast_peers = ["10.77.0.12"]
[bgp]
local_as = 65001
router_id = "10.0.1.2"
[[bgp.neighbor]]
name = "tor1"
address = "10.0.1.1"
local_address = "10.0.1.2"
peer_as = 65000
bfd = {}
[[anycast]]
name = "any"
prefixes = ["192.0.2.100/32", "2001:db8:1::/48"]
community = ["65001:100", "65001:1:2", "no-export"]
"""


def problems(text: str, base: str = MINIMAL) -> list[str]:
    config, found = parse(base + text, "f", hostname="lb1")
    assert (config is None) == bool(found)
    return [str(p) for p in found]


def vip(text: str, *, head: str = 'name = "web"\ninterface = "eth0"\nvrid = 51') -> str:
    addresses = "" if "addresses" in text else 'addresses = ["10.0.0.7/24"]'
    return f"[[vip]]\n{head}\n{addresses}\n{text}\n"


def test_a_whole_file_is_read() -> None:
    config, found = parse(PAIR, hostname="elsewhere")
    assert not found
    assert config is not None
    assert config.node.name == "lb1"
    assert config.cluster.peer[0].addresses == ("10.77.0.12:4710", "10.78.0.12:4710")
    assert config.vip[0].addresses == ("10.77.0.100/24", "2001:db8::100/64")
    assert config.vip[0].preempt_delay_s == 2.0
    assert config.vip[1].version == 2
    assert config.saturation.resource["tls"].ceiling == 2000.0
    assert config.bgp is not None
    assert config.bgp.neighbor[0].bfd is not None
    assert config.bgp.neighbor[0].bfd.multiplier == 3
    assert config.anycast[0].reduced_weights == (50, 25)


def test_defaults_are_those_of_the_model() -> None:
    config, found = parse(MINIMAL, hostname="lb1")
    assert not found
    assert config is not None
    assert config.node.name == "lb1"
    assert (config.api, config.saturation, config.state) == (
        Config().api,
        Config().saturation,
        Config().state,
    )


def test_empty_text_means_not_given() -> None:
    assert not problems('[api]\nmetrics = ""\n[hooks]\non_event = ""\n[node]\nsite = ""')


BAD = [
    # Keys.
    ("[nod]", "f: nod: unknown key; did you mean node?"),
    ("[node]\nnmae = 'x'", "f: node.nmae: unknown key; did you mean name?"),
    ("[node]\nzzz = 1", "f: node.zzz: unknown key; known here: name, site"),
    ('[node]\n"a b" = 1', 'f: node."a b": unknown key; known here: name, site'),
    (vip('adress = "x"'), "f: vip[web].adress: unknown key; did you mean addresses?"),
    (
        "[[cluster.peer]]\nname = 'lb2'\naddreses = []\naddresses = ['10.0.0.2:1']",
        "f: cluster.peer[lb2].addreses: unknown key; did you mean addresses?",
    ),
    ("[saturation.resource.tsl]", "f: saturation.resource.tsl: no such resource; did you mean tls?"),
    # Types.
    ("[node]\nname = 5", "f: node.name: must be text, not a whole number"),
    ("node = 5", "f: node: must be a table, not a whole number"),
    ("vip = 5", "f: vip: must be an array, not a whole number"),
    ("vip = ['x']", "f: vip[1]: must be a table, not text"),
    ("[saturation]\nhold_s = true", "f: saturation.hold_s: must be a number, not true or false"),
    ("[saturation]\nhold_s = nan", "f: saturation.hold_s: must be a finite number"),
    ("[saturation]\ninterval_ms = 1.5", "f: saturation.interval_ms: must be a whole number, not a number"),
    ("[saturation]\ninterval_ms = true", "f: saturation.interval_ms: must be a whole number, not true or false"),
    ("[saturation]\nresource = []", "f: saturation.resource: must be a table, not an array"),
    (vip("preempt = 0"), "f: vip[web].preempt: must be true or false, not a whole number"),
    (vip("preempt = 1979-05-27"), "f: vip[web].preempt: must be true or false, not a date or time"),
    (vip("addresses = '10.0.0.7/24'"), "f: vip[web].addresses: must be an array, not text"),
    (vip("addresses = [7]"), "f: vip[web].addresses[1]: must be text, not a whole number"),
    (vip("version = 3.0"), "f: vip[web].version: must be one of 2, 3, not 3.0"),
    (vip("version = '3'"), 'f: vip[web].version: must be one of 2, 3, not "3"; did you mean 3?'),
    (
        vip("checksum = 'rfc9586'"),
        ('f: vip[web].checksum: must be one of pseudo-header, rfc9568, not "rfc9586"; '
        "did you mean rfc9568?"),
    ),
    ('[node]\nname = "a\\u0000"', "f: node.name: must not contain a NUL character"),
    # Missing.
    (vip("", head="interface = 'eth0'\nvrid = 51"), "f: vip[1].name: is missing"),
    (vip("", head="name = 'web'\nvrid = 51"), "f: vip[web].interface: is missing"),
    (vip("", head="name = ''\ninterface = 'eth0'\nvrid = 51"), "f: vip[1].name: must not be empty"),
    (vip("addresses = []"), "f: vip[web].addresses: must name at least one address"),
    # Ranges.
    (vip("priority = 255"), "f: vip[web].priority: must be at least 1 and at most 254, not 255"),
    (vip("priority = 0"), "f: vip[web].priority: must be at least 1 and at most 254, not 0"),
    (
        vip("", head="name = 'web'\ninterface = 'eth0'\nvrid = 256"),
        "f: vip[web].vrid: must be at least 1 and at most 255, not 256",
    ),
    ("[saturation]\nhard = 1.5", "f: saturation.hard: must be more than 0.0 and at most 1.0, not 1.5"),
    ("[engine]\nlease_s = " + "9" * 30, "f: engine.lease_s: must be at least 0 and at most 3600, not a huge number"),
    # Forms.
    ("[node]\nname = 'lb 1'", 'f: node.name: "lb 1" is not a name: use up to 64 letters, digits, "-", "_" and ".", beginning with a letter or digit'),
    ("[node]\nname = '" + "x" * 65 + "'", 'f: node.name: "' + "x" * 65 + '" is not a name: use up to 64 letters, digits, "-", "_" and ".", beginning with a letter or digit'),
    (vip("track_interfaces = ['eth/0']"), 'f: vip[web].track_interfaces[1]: "eth/0" is not an interface name (1 to 15 characters, no "/")'),
    (vip("track_interfaces = ['averylonginterface']"), 'f: vip[web].track_interfaces[1]: "averylonginterface" is not an interface name (1 to 15 characters, no "/")'),
    (vip("addresses = ['10.0.0.7']"), 'f: vip[web].addresses[1]: "10.0.0.7" has no prefix length: write 10.0.0.7/32 or the subnet\'s'),
    (vip("addresses = ['10.0.0.300/24']"), 'f: vip[web].addresses[1]: "10.0.0.300" is not an IP address (host names are not looked up)'),
    (vip("addresses = ['10.0.0.7/33']"), 'f: vip[web].addresses[1]: "/33" is not a prefix length of an IPv4 address'),
    (vip("addresses = ['10.0.0.0/24']"), 'f: vip[web].addresses[1]: "10.0.0.0/24" is the network itself, not an address in it'),
    (vip("addresses = ['10.0.0.255/24']"), 'f: vip[web].addresses[1]: "10.0.0.255/24" is the broadcast address of its network'),
    (vip("addresses = ['224.0.0.18/32']"), 'f: vip[web].addresses[1]: "224.0.0.18" cannot be served: it is multicast, loopback or unspecified'),
    (vip("addresses = ['fe80::1%eth0/64']"), 'f: vip[web].addresses[1]: "fe80::1%eth0" has a zone; give the address alone'),
    (vip("unicast_peers = ['lb2']"), 'f: vip[web].unicast_peers[1]: "lb2" is not an IP address (host names are not looked up)'),
    ("[api]\nmetrics = '127.0.0.1'", 'f: api.metrics: must be ADDRESS:PORT, as in "192.0.2.1:4710" or "[2001:db8::1]:4710"'),
    ("[api]\nmetrics = '127.0.0.1:0'", 'f: api.metrics: must be ADDRESS:PORT, as in "192.0.2.1:4710" or "[2001:db8::1]:4710"'),
    ("[api]\nmetrics = '127.0.0.1:70000'", 'f: api.metrics: must be ADDRESS:PORT, as in "192.0.2.1:4710" or "[2001:db8::1]:4710"'),
    ("[api]\nmetrics = '::1:9471'", "f: api.metrics: write an IPv6 address in brackets: [::1]:9471"),
    ("[api]\nmetrics = '[127.0.0.1]:9471'", "f: api.metrics: only IPv6 addresses stand in brackets"),
    ("[api]\nmetrics = 'localhost:9471'", 'f: api.metrics: "localhost" is not an IP address (host names are not looked up)'),
    ("[api]\nsocket = 'haman.sock'", 'f: api.socket: "haman.sock" is not an absolute path'),
    ("[api]\nsocket = '/" + "x" * 107 + "'", "f: api.socket: the path is longer than a unix socket's may be (107 bytes)"),
    ("[state]\ndirectory = ''", "f: state.directory: must not be empty"),
    ("[proxy.probe]\naddress = '127.0.0.1:443'\npath = 'health'", 'f: proxy.probe.path: "health" is not a URL path: it begins with "/" and has no spaces'),
    # Between fields: cluster.
    ("[cluster]\nkey_file = '/k'", "f: cluster.listen: is missing: with a key_file, the node must know where it listens for its peers"),
    ("[[cluster.peer]]\nname = 'lb2'\naddresses = []", "f: cluster.peer[lb2].addresses: must name at least one ADDRESS:PORT"),
    ("[[cluster.peer]]\nname = 'lb1'\naddresses = ['10.0.0.2:1']", 'f: cluster.peer[lb1].name: "lb1" is this node; list only the others'),
    (
        "[[cluster.peer]]\nname = 'a'\naddresses = ['10.0.0.2:1']\n[[cluster.peer]]\nname = 'a'\naddresses = ['10.0.0.3:1']",
        'f: cluster.peer[2].name: "a" is already the name of cluster.peer[1]',
    ),
    (
        "[[cluster.peer]]\nname = 'a'\naddresses = ['10.0.0.2:1']\n[[cluster.peer]]\nname = 'b'\naddresses = ['10.0.0.2:1']",
        "f: cluster.peer[b].addresses[1]: 10.0.0.2:1 is already cluster.peer[a].addresses[1]",
    ),
    (
        "[cluster]\nlisten = '10.0.0.1:1'\n[[cluster.peer]]\nname = 'a'\naddresses = ['[fd00::2]:1']",
        "f: cluster.peer[a].addresses[1]: [fd00::2]:1 cannot be reached from 10.0.0.1:1: one is IPv4, the other IPv6",
    ),
    # Between fields: thresholds.
    ("[saturation]\nsoft = 0.95", "f: saturation.soft: soft (0.95) must be below hard (0.9)"),
    ("[saturation]\nrecover = 0.75", "f: saturation.recover: recover (0.75) must be below soft (0.75)"),
    ("[saturation.resource.cpu]\nhard = 0.7", "f: saturation.resource.cpu.soft: soft (0.75) must be below hard (0.7)"),
    ("[saturation.resource.cpu]\nunit = 'full/s'", 'f: saturation.resource.cpu.unit: must be cores, not "full/s"'),
    # Between fields: VIPs.
    (vip("") + vip("", head="name = 'web'\ninterface = 'eth1'\nvrid = 5").replace("10.0.0.7", "10.0.0.8"), 'f: vip[2].name: "web" is already the name of vip[1]'),
    (
        vip("") + vip("addresses = ['10.0.0.8/24']", head="name = 'b'\ninterface = 'eth0'\nvrid = 51"),
        "f: vip[b].vrid: 51 is already the IPv4 virtual router of vip[web] on eth0",
    ),
    (
        vip("") + vip("", head="name = 'b'\ninterface = 'eth0'\nvrid = 52"),
        "f: vip[b].addresses[1]: 10.0.0.7 is already vip[web].addresses[1]",
    ),
    (vip("version = 2\naddresses = ['fd00::7/64']"), "f: vip[web].version: VRRP version 2 has no IPv6; use version 3"),
    (vip("version = 2\nadvert_interval_ms = 1500"), "f: vip[web].advert_interval_ms: VRRP version 2 counts whole seconds, and 1500 is none; use version 3"),
    (vip("advert_interval_ms = 105"), "f: vip[web].advert_interval_ms: VRRP version 3 counts steps of 10 up to 40950, not 105"),
    (vip("advert_interval_ms = 41000"), "f: vip[web].advert_interval_ms: VRRP version 3 counts steps of 10 up to 40950, not 41000"),
    (vip("auth_password_file = '/p'"), "f: vip[web].auth_password_file: VRRP version 3 has no authentication (RFC 9568 section 8)"),
    (vip("unicast_peers = ['10.0.0.7']"), "f: vip[web].unicast_peers[1]: 10.0.0.7 is the VIP itself"),
    (vip("unicast_peers = ['10.0.0.2', '10.0.0.2']"), "f: vip[web].unicast_peers[2]: 10.0.0.2 stands there twice"),
    (vip("unicast_peers = ['10.0.0.2']\naddresses = ['10.0.0.7/24', 'fd00::7/64']"), "f: vip[web].unicast_peers: no IPv6 peer, though the VIP has IPv6 addresses"),
    (
        vip("group = 'g'") + vip("group = 'g'\npreempt = false\naddresses = ['10.0.0.8/24']", head="name = 'b'\ninterface = 'eth0'\nvrid = 52"),
        'f: vip[b].preempt: must be as in vip[web]: VIPs of the group "g" move together',
    ),
    # Between fields: anycast.
    ("[[anycast]]\nname = 'a'\nprefixes = ['192.0.2.1/32']", "f: bgp: is missing: anycast services need a router to announce to"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), BAD, ids=[line[:70] for _, line in BAD])
def test_a_problem_has_its_line(text: str, line: str) -> None:
    top = "" if text.startswith("[") else text + MINIMAL
    assert line in (problems("", top) if top else problems(text))


BGP = """
[bgp]
local_as = 65001
router_id = "10.0.1.2"
[[bgp.neighbor]]
name = "tor1"
address = "10.0.1.1"
local_address = "10.0.1.2"
peer_as = 65000
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("prefixes = ['192.0.2.1']", 'f: anycast[a].prefixes[1]: "192.0.2.1" has no prefix length, as in "192.0.2.100/32"'),
        ("prefixes = ['192.0.2.1/24']", 'f: anycast[a].prefixes[1]: "192.0.2.1/24" has host bits set: write 192.0.2.0/24'),
        ("prefixes = ['x/24']", 'f: anycast[a].prefixes[1]: "x/24" is not a prefix, as in "192.0.2.100/32"'),
        ("prefixes = []", "f: anycast[a].prefixes: must name at least one prefix"),
        ("prefixes = ['192.0.2.1/32', '192.0.2.1/32']", "f: anycast[a].prefixes[2]: 192.0.2.1/32 is already anycast[a].prefixes[1]"),
        ("prefixes = ['192.0.2.1/32']\ncommunity = ['65536:1']", 'f: anycast[a].community[1]: "65536:1" is not a community: use "65001:100", or "65001:1:2" for a large one'),
        ("prefixes = ['192.0.2.1/32']\nreduced_weights = [50, 60]", "f: anycast[a].reduced_weights: must go down from the weight, step by step: 100, 50, 60"),
    ],
)  # fmt: skip
def test_anycast_problems(text: str, line: str) -> None:
    assert problems(f"{BGP}[[anycast]]\nname = 'a'\n{text}") == [line]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (('router_id = "10.0.1.2"', 'router_id = "0.0.0.0"'), 'f: bgp.router_id: "0.0.0.0" is not a router id: four numbers like an IPv4 address, not all zero'),
        (('local_address = "10.0.1.2"', 'local_address = "10.0.1.1"'), "f: bgp.neighbor[tor1].local_address: is the neighbor's own address"),
        (('local_address = "10.0.1.2"', 'local_address = "fd00::1"'), "f: bgp.neighbor[tor1].local_address: is not of the family of 10.0.1.1"),
    ],
)  # fmt: skip
def test_bgp_problems(change: tuple[str, str], line: str) -> None:
    assert problems(BGP.replace(*change)) == [line]


@pytest.mark.parametrize(
    ("proxy", "line"),
    [
        ("", "f: proxy: is missing: name the local proxy that haman watches"),
        ("[proxy]\nkind = 'haproxy'", "f: proxy.socket: is missing: kind haproxy is observed by its socket"),
        ("[proxy]\nkind = 'nginx'", "f: proxy.status: is missing: kind nginx is observed by its status"),
        ("[proxy]\nkind = 'nginx'\nstatus = 'ftp://x'", 'f: proxy.status: "ftp://x" is neither an http URL nor unix:/PATH'),
        ("[proxy]\nkind = 'process'\nprobe = {address = '127.0.0.1:1'}", "f: proxy.pidfile: is missing: kind process is observed by its pidfile or process"),
        ("[proxy]\nkind = 'haprox'", 'f: proxy.kind: must be one of caddy, envoy, haproxy, nginx, process, not "haprox"; did you mean haproxy?'),
    ],
)  # fmt: skip
def test_proxy_problems(proxy: str, line: str) -> None:
    assert problems(proxy, base="") == [line]


def test_all_problems_come_at_once() -> None:
    found = problems(
        "[nod]\n[saturation]\nsoft = 2\n"
        + vip("advert_interval_ms = 15\nadress = 1\nunicast_peers = ['fd00::1', 'x']")
    )
    assert found == [
        "f: nod: unknown key; did you mean node?",
        "f: saturation.soft: must be more than 0.0 and at most 1.0, not 2",
        "f: vip[web].adress: unknown key; did you mean addresses?",
        'f: vip[web].unicast_peers[2]: "x" is not an IP address (host names are not looked up)',
        "f: vip[web].advert_interval_ms: VRRP version 3 counts steps of 10 up to 40950, not 15",
        "f: vip[web].unicast_peers[1]: fd00::1 is IPv6, and no address of the VIP is",
    ]


def test_a_bad_field_brings_no_problem_of_its_placeholder() -> None:
    # soft is unusable: that it is not below hard would be said of the placeholder.
    assert problems("[saturation]\nsoft = 'high'\nhard = 0.5\nrecover = 0.4") == [
        "f: saturation.soft: must be a number, not text"
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = [", "f:1:6: Invalid value"),
        ("[node]\nname = \n", "f:2:8: Invalid value"),
        ("[node]\n[node]\n", "f:2:6: Cannot declare"),
        ("a = 1\na = 2\n", "f:2:6: Cannot overwrite a value"),
    ],
)
def test_a_syntax_error_has_line_and_column(text: str, line: str) -> None:
    (found,) = problems("", base=text)
    assert found.startswith(line)


def test_pythons_own_limits_are_problems() -> None:
    (found,) = problems("", base="x = " + "9" * 5000)
    assert found.startswith("f: is not usable TOML: ")
    assert problems("", base="x = " + "[" * 20_000 + "]" * 20_000)


def test_the_host_name_must_be_usable_where_it_is_the_default() -> None:
    _, found = parse(MINIMAL, "f", hostname="my host")
    assert [str(p) for p in found] == [
        'f: node.name: is missing, and the host\'s own "my host" cannot be one'
    ]


def test_an_address_may_stand_in_both_families_of_one_vrid() -> None:
    text = vip("addresses = ['10.0.0.7/24']") + vip(
        "addresses = ['fd00::7/64']", head="name = 'six'\ninterface = 'eth0'\nvrid = 51"
    )
    assert not problems(text)


def test_too_many_addresses_for_one_advert() -> None:
    addresses = ", ".join(f"'fd00::{n:x}/64'" for n in range(1, 92))
    assert problems(vip(f"addresses = [{addresses}]")) == [
        "f: vip[web].addresses: 91 IPv6 addresses do not fit into one advert (at most 90)"
    ]


def test_arrays_are_bounded() -> None:
    addresses = ", ".join(["'x'"] * 1025)
    assert problems(vip(f"addresses = [{addresses}]"))[0] == (
        "f: vip[web].addresses: has 1025 items, more than the 1024 allowed"
    )
