"""What is legal and yet doubtful, with the exact line that `haman check` prints."""

import pytest

from haman.config.facts import Facts
from haman.config.lease import derived_lease_s, lease_s, take_over_ms
from haman.config.lint import lint
from haman.config.model import Config, Vip
from haman.config.reader import parse

GOOD = """
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
"""


def config_of(text: str) -> Config:
    config, problems = parse(text, hostname="lb1")
    assert not problems, [str(p) for p in problems]
    assert config is not None
    return config


def warnings(text: str, facts: Facts | None = None) -> list[str]:
    return [str(p) for p in lint(config_of(text), facts, "f")]


def test_a_good_file_has_no_warnings() -> None:
    assert warnings(GOOD) == []
    facts = Facts(
        lateness_p99_ms=0.3,
        priorities={"web": {"lb2": 90}},
        interfaces={"eth0": ("10.77.0.11/24",)},
    )
    assert warnings(GOOD, facts) == []


VIP2 = """
[[vip]]
name = "b"
interface = "eth0"
vrid = 52
addresses = ["10.77.0.101/24"]
"""

DOUBTFUL = [
    (
        GOOD.replace('key_file = "/etc/haman/cluster.key"', ""),
        [
            (
                "f: cluster.key_file: warning: is missing: without reports from its peers a node takes "
                "over later, and headroom is not known (make one with `haman keygen`)"
            ),
            "f: cluster.listen: warning: has no effect without cluster.key_file",
        ],
    ),
    (
        GOOD.replace('[[cluster.peer]]\nname = "lb2"\naddresses = ["10.77.0.12:4710"]', ""),
        [
            "f: cluster.peer: warning: is empty: with one node in the cluster, nobody takes over",
        ],
    ),
    (
        GOOD + "[saturation]\nmax_shedding = 2",
        [
            "f: saturation.max_shedding: warning: lets every node of the cluster shed at once",
        ],
    ),
    (
        GOOD.replace('[proxy.probe]\naddress = "127.0.0.1:443"', ""),
        [
            (
                "f: proxy.probe: warning: is missing: a proxy that lives but does not answer goes "
                "unnoticed"
            ),
        ],
    ),
    (
        GOOD.replace('443"', '443"\ninterval_ms = 500'),
        [
            (
                "f: proxy.probe.timeout_ms: warning: is not below interval_ms (500): a deaf proxy is "
                "noticed late"
            ),
        ],
    ),
    (
        GOOD.replace('"haproxy"', '"nginx"\nstatus = "unix:/run/nginx.sock:/stub_status"'),
        [
            'f: proxy.socket: warning: has no effect with kind "nginx"',
        ],
    ),
    (
        GOOD.replace('"haproxy"', '"envoy"\nadmin = "http://lb1:9901"'),
        [
            'f: proxy.socket: warning: has no effect with kind "envoy"',
            (
                "f: proxy.admin: warning: cannot be asked: http://lb1:9901: write an IP address, names "
                "are not looked up"
            ),
        ],
    ),
    (
        GOOD + "[saturation]\nhard = 1.0",
        [
            (
                "f: saturation.hard: warning: can hardly be reached: at 1 the resource has run out "
                "already"
            ),
        ],
    ),
    (
        GOOD + "[saturation.resource.nic]\n[saturation.resource.tls]\nunit = 'full/s'",
        ["f: saturation.resource.tls.unit: warning: has no effect without a ceiling"],
    ),
    (
        GOOD.replace('kind = "haproxy"', 'kind = "process"\nprocess = "squid"').replace(
            'socket = "/run/haproxy/admin.sock"', ""
        )
        + "[saturation.resource.memory]\n[saturation.resource.tls]",
        [
            (
                "f: saturation.resource.tls: warning: cannot be reached: this version does not measure "
                'tls of kind "process"'
            )
        ],
    ),
    (GOOD + "[saturation.resource.nic]\nact = false", []),
    (
        GOOD + "[engine]\nlease_s = 3",
        [
            (
                "f: engine.lease_s: warning: is shorter than a take-over (3.997 s at most): a stalled "
                "engine would lose its addresses before a peer has them; use 5, or 0"
            ),
        ],
    ),
    (GOOD + "[engine]\nlease_s = 4", []),
    (
        GOOD + "advert_interval_ms = 50\n[engine]\nrealtime_priority = 0",
        [
            (
                "f: vip[web].advert_interval_ms: warning: is below 100 with engine.realtime_priority = "
                "0: a busy host will send late, and its peers will take over"
            ),
        ],
    ),
    (
        GOOD + "preempt = false\npreempt_delay_s = 5",
        [
            "f: vip[web].preempt_delay_s: warning: has no effect with preempt = false",
        ],
    ),
    (
        GOOD + "version = 2\nchecksum = 'rfc9568'\nauth_password_file = '/p'",
        [
            "f: vip[web].checksum: warning: only concerns IPv4 in version 3; it has no effect here",
            (
                "f: vip[web].auth_password_file: warning: is sent in clear text with every advert: it "
                "guards against mistakes, not attacks"
            ),
        ],
    ),
    (
        GOOD + "group = 'front'" + VIP2 + "group = 'fron'",
        [
            'f: vip[web].group: warning: nothing else is in the group "front"; did you mean fron?',
            'f: vip[b].group: warning: nothing else is in the group "fron"; did you mean front?',
        ],
    ),
    (
        GOOD + "group = 'g'" + VIP2 + "group = 'g'\npriority = 120",
        [
            (
                'f: vip[b].priority: warning: differs from vip[web], though both are in the group "g": '
                "give the VIPs of a group one priority per node"
            ),
        ],
    ),
    (
        GOOD[: GOOD.index("[[vip]]")],
        ["f: vip: warning: is missing: this node serves nothing"],
    ),
    (
        GOOD + "[bgp]\nlocal_as = 65001\nrouter_id = '10.0.1.2'",
        ["f: bgp: warning: has no effect without an anycast service"],
    ),
]


@pytest.mark.parametrize(("text", "lines"), DOUBTFUL)
def test_what_the_file_alone_tells(text: str, lines: list[str]) -> None:
    assert warnings(text) == lines


KNOWN = [
    (
        Facts(lateness_p99_ms=180.0),
        (
            "f: vip[web].advert_interval_ms: warning: is too fast for this host: its engine is 180.0 "
            "ms late in 1 of 100 wake-ups; use 1800 or more"
        ),
    ),
    (
        Facts(priorities={"web": {"lb2": 100}}),
        (
            "f: vip[web].priority: warning: 100 is also the priority of lb2: who serves is left to "
            "chance; give each node its own"
        ),
    ),
    (
        Facts(strangers={"web": "10.77.0.66"}),
        (
            "f: vip[web].vrid: warning: 51 is used on the wire by 10.77.0.66, which is no node of this "
            "cluster"
        ),
    ),
    (
        Facts(interfaces={"eth1": ("10.77.0.11/24",)}),
        'f: vip[web].interface: warning: this host has no interface "eth0"; did you mean eth1?',
    ),
    (
        Facts(interfaces={"eth0": ("10.78.0.11/24", "fe80::1/64")}),
        (
            "f: vip[web].addresses[1]: warning: 10.77.0.100 is in no network of eth0 (10.78.0.0/24, "
            "fe80::/64): its neighbours may not find it"
        ),
    ),
    (
        Facts(unreadable={"cluster.key_file": "/k: no such file"}),
        "f: cluster.key_file: warning: /k: no such file",
    ),
]


@pytest.mark.parametrize(("facts", "line"), KNOWN)
def test_what_host_and_cluster_tell(facts: Facts, line: str) -> None:
    assert warnings(GOOD, facts) == [line]


def vip(interval_ms: int, version: int = 3) -> Vip:
    return Vip(
        "web", "eth0", 51, ("10.0.0.7/24",), advert_interval_ms=interval_ms,
        version=2 if version == 2 else 3,
    )  # fmt: skip


def test_take_over_is_three_intervals_and_the_longest_skew() -> None:
    assert take_over_ms(vip(1000)) == 3000 + 997
    assert take_over_ms(vip(10)) == 30 + 10
    assert take_over_ms(vip(2000, version=2)) == 6000 + 997


@pytest.mark.parametrize(("interval_ms", "lease"), [(10, 3), (1000, 5), (40_950, 165)])
def test_the_lease_outlasts_the_slowest_take_over(interval_ms: int, lease: int) -> None:
    assert derived_lease_s(vip(interval_ms)) == lease
    assert take_over_ms(vip(interval_ms)) < lease * 1000


def test_a_configured_lease_wins() -> None:
    config = config_of(GOOD + "[engine]\nlease_s = 30")
    assert lease_s(config, config.vip[0]) == 30
    config = config_of(GOOD)
    assert lease_s(config, config.vip[0]) == 5


def test_a_host_without_libnftables_cannot_hand_over() -> None:
    assert warnings(GOOD, Facts(nftables=True)) == []
    (warning,) = warnings(GOOD, Facts(nftables=False))
    assert warning == (
        "f: vip: warning: cannot be handed over by this host: libnftables is not installed "
        "(Debian: nftables); planned moves are refused, or cut connections with --plain"
    )
