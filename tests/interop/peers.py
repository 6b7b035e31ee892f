"""keepalived as the other half, and tshark as the judge of what was on the wire."""

import os
import re
import signal
import subprocess
from pathlib import Path

from tests.engine.net import Host, children, wait


class Keepalived:
    """One VRRP instance in a host; the program from Debian's package."""

    def __init__(self, host: Host, directory: Path, config: str) -> None:
        self.host = host
        self.directory = directory
        self.config = directory / "keepalived.conf"
        self.config.write_text(config)
        self.log = directory / "keepalived.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp"]
        command += ["--use-file", str(self.config), "--pid", str(self.directory / "keepalived.pid")]
        command += ["--vrrp_pid", str(self.directory / "vrrp.pid")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.host.command(*command), stdout=log, stderr=log)
        began = self.said("Entering BACKUP STATE")
        wait(lambda: self.said("Entering BACKUP STATE") > began, what="keepalived's start")

    def said(self, text: str) -> int:
        return self.log.read_text(errors="replace").count(text) if self.log.exists() else 0

    def stop(self) -> None:
        """Planned: it says priority 0 and removes the address."""
        assert self.process
        self.process.terminate()
        self.process.wait(10)

    def kill(self) -> None:
        """Both of its processes at once, as when the node dies."""
        assert self.process
        parent, workers = self.process.pid, children(self.process.pid)
        # A worker whose parent dies says farewell first; a parent whose worker dies starts another.
        os.kill(parent, signal.SIGSTOP)
        for pid in (*workers, parent):
            os.kill(pid, signal.SIGKILL)
        self.process.wait(5)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()


class Capture:
    """All packets of a host's eth0."""

    def __init__(self, host: Host, path: Path) -> None:
        self.path = path
        self.process = subprocess.Popen(
            host.command("tcpdump", "-i", "eth0", "-U", "-Z", "root", "-w", str(path)),
            stderr=subprocess.DEVNULL,
        )
        wait(lambda: path.exists() and path.stat().st_size > 0, what="tcpdump's start")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(10)

    def rows(self, condition: str, *fields: str) -> list[str]:
        """What tshark finds, one line per packet."""
        command = ["tshark", "-n", "-r", str(self.path), "-Y", condition, "-T", "fields"]
        command += ["-o", "ip.check_checksum:TRUE", "-E", "separator=,"]
        for field in fields:
            command += ["-e", field]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()


def wrong(capture: Capture) -> list[str]:
    """Packets of ours and theirs that tshark calls malformed or badly summed.

    That an address moved from one MAC to another it calls a duplicate; here it is the purpose.
    """
    bad = "_ws.malformed || vrrp.checksum.status == 0 || ip.checksum.status == 0"
    bad += " || icmpv6.checksum.status == 0 || _ws.expert.severity >= 6291456"  # warnings, errors
    ours = "(vrrp || arp || icmpv6) && !arp.duplicate-address-detected"
    return capture.rows(f"{ours} && ({bad})", "frame.number", "_ws.col.Info")


def keepalived_conf(
    *,
    priority: int,
    version: int,
    interval_s: float,
    addresses: list[str],
    unicast: tuple[str, str],
) -> str:
    """`unicast` = own address and the peer's; ("", "") for multicast."""
    own, peer = unicast
    lines = [
        "global_defs {",
        f"  vrrp_version {version}",
        "  vrrp_garp_master_refresh 0",
        "}",
        "vrrp_instance web {",
        "  state BACKUP",
        "  interface eth0",
        "  virtual_router_id 51",
        f"  priority {priority}",
        f"  advert_int {interval_s:g}",
        f"  version {version}",
    ]
    if own:
        lines += [f"  unicast_src_ip {own}", "  unicast_peer {", f"    {peer}", "  }"]
    lines += ["  virtual_ipaddress {", *(f"    {a}" for a in addresses), "  }", "}", ""]
    return "\n".join(lines)


def rejects(keepalived: Keepalived) -> list[str]:
    """Lines in which keepalived says that it dropped a packet."""
    pattern = re.compile(
        r"invalid|unexpected|mismatch|wrong|too short|bogus|dropp|not present", re.IGNORECASE
    )
    lines = keepalived.log.read_text(errors="replace").splitlines()
    return [line for line in lines if pattern.search(line)]
