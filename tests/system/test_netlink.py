"""The rtnetlink codec: against pyroute2 as an oracle, and against any bytes at all."""

import contextlib
import errno
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from haman.system import netlink
from haman.system.netlink import (
    Acknowledged,
    AddressAdded,
    AddressRemoved,
    DumpCompleted,
    InterfaceAddress,
    LinkChanged,
    LinkRemoved,
    MalformedNetlinkError,
)
from haman.system.netlink_socket import Monitor, NetlinkFailedError, Requests
from tests.engine.net import Namespace

V4 = InterfaceAddress(7, socket.AF_INET, "10.77.0.100", 24)
V6 = InterfaceAddress(7, socket.AF_INET6, "2001:db8::100", 64)


def by_oracle(data: bytes) -> ifaddrmsg:
    message = ifaddrmsg(data)
    message.decode()
    return message


@pytest.mark.parametrize("place", [V4, V6], ids=["ipv4", "ipv6"])
def test_the_oracle_reads_what_we_add(place: InterfaceAddress) -> None:
    message = by_oracle(netlink.new_address(9, place, lease_s=3, prefix_route=False))
    assert message["header"]["type"] == netlink.RTM_NEWADDR
    assert message["header"]["sequence_number"] == 9
    assert (message["family"], message["prefixlen"]) == (place.family, place.prefix)
    assert (message["index"], message["scope"]) == (7, 0)
    assert message.get("address") == message.get("local") == place.address
    lifetimes = message.get("cacheinfo")
    assert lifetimes["ifa_valid"] == 3
    assert message.get("proto") == b"\x68".decode() or int(message.get("proto")) == 0x68
    if place is V6:  # never a source of its own; no duplicate address detection
        assert lifetimes["ifa_preferred"] == 0
        assert message.get("flags") == netlink.IFA_F_NODAD | netlink.IFA_F_NOPREFIXROUTE
    else:
        assert lifetimes["ifa_preferred"] == 3
        assert message.get("flags") == 0


@pytest.mark.parametrize("place", [V4, V6], ids=["ipv4", "ipv6"])
def test_the_oracle_reads_what_we_remove(place: InterfaceAddress) -> None:
    message = by_oracle(netlink.delete_address(9, place))
    assert message["header"]["type"] == netlink.RTM_DELADDR
    assert message.get("local") == place.address
    assert message["prefixlen"] == place.prefix


def test_we_read_what_the_oracle_writes() -> None:
    address = ifaddrmsg()
    address["family"], address["prefixlen"], address["index"] = socket.AF_INET, 24, 7
    address["attrs"] = [("IFA_ADDRESS", "10.77.0.9"), ("IFA_LOCAL", "10.77.0.8")]
    address["header"]["type"] = netlink.RTM_NEWADDR
    address.encode()
    found = netlink.parse(bytes(address.data))
    assert found == [AddressAdded(InterfaceAddress(7, socket.AF_INET, "10.77.0.8", 24))]

    link = ifinfmsg()
    link["index"], link["flags"], link["ifi_type"] = 3, netlink.IFF_UP, 1
    link["attrs"] = [
        ("IFLA_IFNAME", "eth0"),
        ("IFLA_ADDRESS", "02:00:00:00:00:01"),
        ("IFLA_OPERSTATE", "UP"),
    ]
    link["header"]["type"] = netlink.RTM_DELLINK
    link.encode()
    (removed,) = netlink.parse(bytes(link.data))
    assert isinstance(removed, LinkRemoved)
    assert (removed.link.name, removed.link.index, removed.link.up) == ("eth0", 3, True)
    assert removed.link.mac == bytes.fromhex("020000000001")


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with contextlib.suppress(MalformedNetlinkError):
        netlink.parse(data)


@given(
    st.sampled_from([2, 3, 16, 17, 20, 21, 99]),
    st.integers(0, 0xFFFF),
    st.binary(max_size=120),
    st.integers(0, 119),
    st.integers(0, 255),
)
def test_no_message_raises_anything_else(
    kind: int, flags: int, body: bytes, at: int, value: int
) -> None:
    whole = struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body
    real = bytearray(netlink.new_address(1, V6, lease_s=3))
    real[at % len(real)] = value
    for data in (whole, bytes(real)):
        with contextlib.suppress(MalformedNetlinkError):
            netlink.parse(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (struct.pack("=IHHII", 99, 16, 0, 0, 0), "99 bytes"),
        (struct.pack("=IHHII", 4, 16, 0, 0, 0), "4 bytes"),
        (b"\x01\x02", "after the last"),
        (struct.pack("=IHHII", 20, 16, 0, 0, 0) + bytes(4), "link message"),
        (struct.pack("=IHHII", 28, 20, 0, 0, 0) + b"\x02" + bytes(11), "attribute"),
        (struct.pack("=IHHII", 24, 20, 0, 0, 0) + b"\x02" + bytes(7), "address of 0"),
        (struct.pack("=IHHII", 18, 2, 0, 0, 0) + bytes(2), "integer of 2"),
    ],
)
def test_what_is_malformed_is_said(data: bytes, why: str) -> None:
    with pytest.raises(MalformedNetlinkError, match=why):
        netlink.parse(data)


def test_answers_and_ends_of_dumps() -> None:
    refused = struct.pack("=IHHII", 36, 2, 0, 5, 0) + struct.pack("=i", -errno.EPERM) + bytes(16)
    assert netlink.parse(refused) == [Acknowledged(5, errno.EPERM)]
    done = struct.pack("=IHHII", 20, 3, netlink.NLM_F_DUMP_INTR, 6, 0) + bytes(4)
    assert netlink.parse(done) == [DumpCompleted(6, consistent=False)]


# ---- the real kernel -------------------------------------------------------------------------------


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace()
    made.run("ip link set lo up; ip link add va type veth peer name vb")
    yield made
    made.close()


@pytest.mark.privileged
def test_the_kernel_does_as_told(namespace: Namespace) -> None:
    with namespace.inside():
        requests, monitor = Requests(), Monitor()
    links = {link.name: link for link in requests.links()}
    assert links["lo"].loopback
    assert links["lo"].up
    assert not links["va"].up
    place = InterfaceAddress(links["va"].index, socket.AF_INET, "10.77.0.100", 24)
    nowhere = InterfaceAddress(999, socket.AF_INET, "10.77.0.100", 24)
    answers = requests.change(
        [
            lambda n: netlink.new_address(n, place, lease_s=60),
            lambda n: netlink.delete_address(n, nowhere),
        ]
    )
    assert [a.errno for a in answers] == [0, errno.ENODEV]
    assert answers[1].text
    (added,) = monitor.read() or []
    assert isinstance(added, AddressAdded)
    assert added.address.place == place
    assert added.address.protocol == netlink.ADDRESS_MARK
    assert added.address in requests.addresses()
    assert requests.change([lambda n: netlink.delete_address(n, place)])[0].errno == 0
    (removed,) = monitor.read() or []
    assert isinstance(removed, AddressRemoved)
    namespace.run("ip link set va up")
    assert [type(message) for message in monitor.read() or ()][:1] == [LinkChanged]
    requests.close()
    monitor.close()


@pytest.mark.privileged
def test_many_requests_at_once(namespace: Namespace) -> None:
    with namespace.inside():
        requests = Requests()
    index = next(link.index for link in requests.links() if link.name == "lo")
    places = [
        InterfaceAddress(index, socket.AF_INET, f"10.1.{i // 200}.{i % 200 + 1}", 32)
        for i in range(500)
    ]
    adds = [partial(netlink.new_address, address=place, lease_s=60) for place in places]
    nowhere = partial(netlink.new_address, address=replace(places[0], ifindex=999), lease_s=60)
    answers = requests.change([*adds[:40], nowhere, *adds[40:]])
    assert answers[40].errno == errno.ENODEV
    assert {a.errno for a in (*answers[:40], *answers[41:])} == {0}
    assert len(answers) == 501
    there = {a.place for a in requests.addresses()}
    assert set(places) <= there
    requests.close()


@pytest.mark.privileged
def test_an_overrun_is_said_once(namespace: Namespace) -> None:
    with namespace.inside():
        monitor = Monitor(receive_buffer_bytes=1)
    lines = "".join(f"addr add 10.2.0.{i}/32 dev lo\\n" for i in range(1, 200))
    namespace.run(f"printf '{lines}' | ip -batch -")
    reads = [monitor.read()]
    while reads[-1] != []:
        reads.append(monitor.read())
    assert reads.count(None) == 1
    monitor.close()


def test_a_kernel_that_does_not_answer_is_an_error() -> None:
    requests = Requests()
    requests._socket.close()
    with pytest.raises(NetlinkFailedError):
        requests.links()


def test_the_unprivileged_are_refused_with_a_reason() -> None:
    code = (
        "import os; from haman.system import netlink\n"
        "from haman.system.netlink_socket import Requests\n"
        "os.getuid() or os.setuid(65534)\n"
        "place = netlink.InterfaceAddress(1, 2, '10.9.9.9', 32)\n"
        "print(Requests().change([lambda n: netlink.new_address(n, place, lease_s=3)])[0].errno)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) == errno.EPERM
