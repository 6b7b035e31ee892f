"""What is read out of frames, by scapy's word for what they are, and that the tap hears them."""

import socket
import time

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import ARP, Ether
from scapy.layers.vrrp import VRRPv3

from haman.lab.kernel import wait_until
from haman.lab.wiretap import Advert, Claim, Frame, Tap, adverts, claims
from tests.engine.net import Lan

MAC, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"


def advert(vrid: int, priority: int, mac: str = MAC, at_ns: int = 0) -> Frame:
    packet = Ether(src=mac) / IP(src="10.77.0.11", dst="224.0.0.18", proto=112, ttl=255)
    return Frame(at_ns, bytes(packet / VRRPv3(vrid=vrid, priority=priority, addrlist=["10.1.1.1"])))


def arp(sender: str, target: str, mac: str = MAC, at_ns: int = 0) -> Frame:
    return Frame(at_ns, bytes(Ether(src=mac) / ARP(hwsrc=mac, psrc=sender, pdst=target)))


def test_adverts_and_gratuitous_arp_are_told_apart() -> None:
    frames = [
        advert(51, 150, at_ns=1),
        arp("10.78.0.1", "10.78.0.1", at_ns=2),
        arp("10.78.0.1", "10.78.0.9", at_ns=3),
        advert(255, 0, OTHER, at_ns=4),
    ]
    assert adverts(frames) == [Advert(1, MAC, 51, 150), Advert(4, OTHER, 255, 0)]
    assert claims(frames) == [Claim(2, MAC, "10.78.0.1")]


@pytest.mark.privileged
def test_the_tap_hears_what_it_is_for_and_the_kernel_stamps_it() -> None:
    lan = Lan(2)
    try:
        with lan.hosts[0].inside():
            mouth = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        wanted = [advert(n, 100) for n in range(1, 256)] + [arp("10.78.0.1", "10.78.0.1")]
        other = bytes(Ether(src=MAC) / IP(src="10.77.0.11", dst="10.77.0.12", proto=99))
        began_ns = time.time_ns()
        with Tap(lan.hosts[1].holder.pid, "eth0") as tap, mouth:
            for _, data in wanted:
                mouth.sendto(other, ("eth0", 0))
                mouth.sendto(data, ("eth0", 0))
            assert wait_until(lambda: len(claims(tap.frames)) == 1, 5)
    finally:
        lan.close()
    assert [a.vrid for a in adverts(tap.frames)] == list(range(1, 256))
    assert tap.lost == 0
    stamps = [frame.at_ns for frame in tap.frames]
    assert stamps == sorted(stamps)
    assert began_ns <= stamps[0] <= stamps[-1] <= time.time_ns()
