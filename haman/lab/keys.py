"""What a lab's nodes must share and nobody may commit: the cluster key, a TLS certificate, SSH keys."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from haman.lab.runtime import LabError

CERTIFICATE_DAYS = 30


def prepare(
    folder: Path, make_cluster_key: Callable[[Path], None], hosts: Sequence[str] = ()
) -> None:
    """Make what is missing in `folder`: `cluster.key`, `tls.pem` (certificate and key), and `ssh`.

    In `ssh` are the host key of all nodes, `known_hosts`, and the key with which the client logs in;
    without ssh-keygen it stays empty, and no playbook can be run.

    Args:
        folder: private to the lab.
        make_cluster_key: writes a new key file; the cluster layer knows how.
        hosts: names and addresses of the nodes that can be logged in to.

    Raises:
        LabError: openssl is missing or refused.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / "cluster.key").exists():
        make_cluster_key(folder / "cluster.key")
    if not (folder / "tls.pem").exists():
        _make_certificate(folder)
    _make_ssh_keys(folder / "ssh", hosts)


def _make_ssh_keys(folder: Path, hosts: Sequence[str]) -> None:
    folder.mkdir(exist_ok=True, mode=0o700)
    (folder / "known_hosts").touch()
    if shutil.which("ssh-keygen") is None or (folder / "client_key").exists():
        return
    for name in ("host_key", "client_key"):
        (folder / name).unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "haman lab", "-f", name]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
        if done.returncode:
            raise LabError(f"ssh-keygen cannot make the lab's keys: {done.stderr.strip()}")
    host_key = (folder / "host_key.pub").read_text()
    known = [f"{host} {host_key}" for host in hosts]
    (folder / "known_hosts").write_text("".join(known))  # in place: nodes may have it bound


def _make_certificate(folder: Path) -> None:
    certificate, key = folder / "tls.crt", folder / "tls.key"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    request += ["-noenc", "-days", str(CERTIFICATE_DAYS), "-subj", "/CN=haman lab"]
    request += ["-keyout", str(key), "-out", str(certificate)]
    done = subprocess.run(request, check=False, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"openssl cannot make the lab's certificate: {done.stderr.strip()}")
    both = folder / "tls.pem.new"
    both.touch(mode=0o600)
    both.write_text(certificate.read_text() + key.read_text())
    both.replace(folder / "tls.pem")
    certificate.unlink()
    key.unlink()
