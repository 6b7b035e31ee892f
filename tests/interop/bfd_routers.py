"""BFD of FRR and of BIRD as the other end, behind the same few questions."""

import json
from typing import Any

from tests.bgp.routers import Bird, Frr
from tests.engine.net import Host

US = {4: "10.77.0.11", 6: "2001:db8::11"}
THEM = {4: "10.77.0.12", 6: "2001:db8::12"}


class FrrBfd:
    """bgpd with a neighbour that wants BFD, and bfdd, at the second host."""

    name = "frr"

    def __init__(self, host: Host, family: int) -> None:
        self.us = US[family]
        self.router = Frr(host, self._config(family), "bfdd")

    def _config(self, family: int) -> str:
        lines = ["bfd", " profile fast", "  transmit-interval 50", "  receive-interval 50"]
        lines += ["  detect-multiplier 3", "router bgp 65000", " bgp router-id 10.77.0.12"]
        lines += [f" neighbor {US[family]} remote-as 65001", " no bgp ebgp-requires-policy"]
        lines += [f" neighbor {US[family]} bfd profile fast"]
        lines += [f" neighbor {US[family]} timers 3 9", f" neighbor {US[family]} timers connect 1"]
        if family == 6:
            lines += [" address-family ipv6 unicast", f"  neighbor {US[family]} activate"]
        return "\n".join([*lines, ""])

    def session(self) -> dict[str, Any]:
        """As `show bfd peers` has it; empty while there is none."""
        peers = json.loads(self.router.vtysh("show bfd peers json") or "[]")
        return next((peer for peer in peers if peer["peer"] == self.us), {})

    def up(self) -> bool:
        return bool(self.session().get("status") == "up")

    def why_down(self) -> str:
        return str(self.session().get("diagnostic", ""))

    def why_we_are_down(self) -> str:
        return str(self.session().get("remote-diagnostic", ""))

    def interval(self, interval_ms: int) -> None:
        """Change what it wants, both ways."""
        lines = [f"transmit-interval {interval_ms}", f"receive-interval {interval_ms}"]
        self.router.vtysh("configure terminal", "bfd", "profile fast", *lines)

    def admin_down(self) -> None:
        self.router.vtysh("configure terminal", "bfd", "profile fast", "shutdown")

    def admin_up(self) -> None:
        self.router.vtysh("configure terminal", "bfd", "profile fast", "no shutdown")

    def bgp_established(self) -> bool:
        return self.router.established(self.us)


class BirdBfd:
    """BIRD at the second host."""

    name = "bird"

    def __init__(self, host: Host, family: int) -> None:
        self.family, self.us = family, US[family]
        self.router = Bird(host, self._config(50))

    def _config(self, interval_ms: int) -> str:
        return f"""
router id 10.77.0.12;
protocol device {{}}
protocol bfd liveness {{
  interface "eth0" {{
    min rx interval {interval_ms} ms; min tx interval {interval_ms} ms; multiplier 3;
  }};
}}
protocol bgp node {{
  local {THEM[self.family]} as 65000;
  neighbor {self.us} as 65001;
  bfd on;
  ipv{self.family} {{ import all; export none; }};
}}
"""

    def _row(self) -> list[str]:
        """Address, interface, state, since, interval, timeout."""
        rows = self.router.birdc("show", "bfd", "sessions").splitlines()
        return next((row.split() for row in rows if row.startswith(self.us)), [])

    def up(self) -> bool:
        return self._row()[2:3] == ["Up"]

    def interval(self, interval_ms: int) -> None:
        self.router.configuration.write_text(self._config(interval_ms))
        assert "Reconfigur" in self.router.birdc("configure")

    def bgp_established(self) -> bool:
        return self.router.established("node")


def speaker(host: Host, family: int) -> Bird:
    """A BGP speaker without BFD beside the engine, as ExaBGP is."""
    return Bird(
        host,
        f"""
router id 10.77.0.11;
protocol device {{}}
protocol bgp upstream {{
  local {US[family]} as 65001;
  neighbor {THEM[family]} as 65000;
  connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv{family} {{ import none; export none; }};
}}
""",
    )


Peer = FrrBfd | BirdBfd
