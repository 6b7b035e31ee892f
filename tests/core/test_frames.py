"""The announcement frames, as scapy reads and builds them."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from haman.core.frames import gratuitous_arp, unsolicited_na

MAC = bytes.fromhex("02420a4d000b")
MAC_TEXT = "02:42:0a:4d:00:0b"
VIP = IPv4Address("10.77.0.100")
VIP_V6 = IPv6Address("2001:db8::64")


@pytest.mark.parametrize(("reply", "opcode"), [(False, 1), (True, 2)])
def test_gratuitous_arp_is_what_scapy_builds(reply, opcode):
    expected = Ether(dst="ff:ff:ff:ff:ff:ff", src=MAC_TEXT) / ARP(
        op=opcode,
        hwsrc=MAC_TEXT,
        psrc=str(VIP),
        hwdst=MAC_TEXT if reply else "00:00:00:00:00:00",
        pdst=str(VIP),
    )
    assert gratuitous_arp(VIP, MAC, reply=reply) == bytes(expected)


@pytest.mark.parametrize("router", [False, True])
@pytest.mark.parametrize("source", [None, IPv6Address("fe80::b")])
def test_unsolicited_na_is_what_scapy_builds(router, source):
    expected = (
        Ether(dst="33:33:00:00:00:01", src=MAC_TEXT)
        / IPv6(src=str(source or VIP_V6), dst="ff02::1", hlim=255, tc=0xC0)
        / ICMPv6ND_NA(tgt=str(VIP_V6), R=int(router), S=0, O=1)
        / ICMPv6NDOptDstLLAddr(lladdr=MAC_TEXT)
    )
    assert unsolicited_na(VIP_V6, MAC, source=source, router=router) == bytes(expected)


def test_a_mac_address_of_another_length_is_refused():
    with pytest.raises(ValueError, match="6 bytes"):
        gratuitous_arp(VIP, b"\x02" * 8)
    with pytest.raises(ValueError, match="6 bytes"):
        unsolicited_na(VIP_V6, b"")
