"""Raw sockets: the header we make, and what is heard."""

import socket
from ipaddress import ip_address

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6

from haman.core.frames import gratuitous_arp
from haman.system.sockets import Claimed, Datagram, FrameSocket, VrrpSocket, ip_packet
from tests.engine.net import Lan, wait

GROUPS = {4: ip_address("224.0.0.18"), 6: ip_address("ff02::12")}


def test_the_ipv4_header_by_scapy() -> None:
    packet = IP(ip_packet(ip_address("10.0.0.1"), GROUPS[4], b"hello"))
    assert (packet.src, packet.dst, packet.ttl, packet.proto) == (
        "10.0.0.1",
        "224.0.0.18",
        255,
        112,
    )
    assert (packet.tos, packet.len, packet.ihl) == (0xC0, 25, 5)
    assert bytes(packet.payload) == b"hello"


def test_the_ipv6_header_by_scapy() -> None:
    packet = IPv6(ip_packet(ip_address("fe80::1"), GROUPS[6], b"hello"))
    assert (packet.src, packet.dst, packet.hlim, packet.nh) == ("fe80::1", "ff02::12", 255, 112)
    assert (packet.version, packet.tc, packet.fl, packet.plen) == (6, 0xC0, 0, 5)


@pytest.mark.privileged
@pytest.mark.parametrize(
    ("family", "mine", "theirs"),
    [(4, "10.77.0.11", "10.77.0.12"), (6, "fe80::11", "fe80::12")],
)
def test_multicast_and_unicast_are_heard_and_own_packets_are_not(
    lan: Lan, family: int, mine: str, theirs: str
) -> None:
    wires = []
    af = socket.AF_INET if family == 4 else socket.AF_INET6
    for host in lan.hosts:
        with host.inside():
            wires.append(VrrpSocket("eth0", host.index("eth0"), af))
    source, peer = ip_address(mine), ip_address(theirs)
    for destination in (GROUPS[family], peer):
        wires[0].send(ip_packet(source, destination, b"hello"), destination)
    heard: list[Datagram] = []

    def both_heard() -> bool:
        heard.extend(wires[1].receive())
        return len(heard) == 2

    wait(both_heard, 2)
    assert [d.destination for d in heard] == [GROUPS[family], peer]
    assert {(d.source, d.ttl, d.payload) for d in heard} == {(source, 255, b"hello")}
    assert wires[0].receive() == []
    for wire in wires:
        wire.close()


@pytest.mark.privileged
def test_an_interface_that_is_gone_is_an_error() -> None:
    with pytest.raises(OSError, match="No such device"):
        VrrpSocket("nosuch0", 4711, socket.AF_INET)


@pytest.mark.privileged
def test_frames_arrive_as_they_are(lan: Lan) -> None:
    with lan.hosts[1].inside():
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
        ear.settimeout(2)
    with lan.hosts[0].inside():
        mouth = FrameSocket(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).detach())
    frame = b"\xff" * 6 + b"\x02\0\0\0\0\x01" + b"\x88\xb5" + b"x" * 46
    mouth.send("eth0", frame)
    assert ear.recv(100) == frame
    ear.close()
    mouth.close()


@pytest.mark.privileged
@pytest.mark.parametrize("place", [0, 254, 399])
def test_arp_of_each_of_many_addresses_is_heard_and_no_other(lan: Lan, place: int) -> None:
    watched = [ip_address(int(ip_address("192.168.8.1")) + n) for n in range(400)]
    with lan.hosts[0].inside():
        ear = FrameSocket(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).detach())
        ear.listen(watched)
    with lan.hosts[1].inside():
        mouth = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    heard: list[Claimed] = []
    for address in (ip_address("192.168.9.250"), watched[place]):
        mouth.sendto(gratuitous_arp(address, b"\x02\0\0\0\0\x63"), ("eth0", 0))

    def has_heard() -> bool:
        heard.extend(ear.receive())
        return bool(heard)

    wait(has_heard)
    assert [claim.address for claim in heard] == [watched[place]]
    ear.close()
    mouth.close()
