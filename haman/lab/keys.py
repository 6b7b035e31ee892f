"""What a lab's nodes must share and nobody may commit: the cluster key and a TLS certificate."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from haman.lab.runtime import LabError

CERTIFICATE_DAYS = 30


def prepare(folder: Path, make_cluster_key: Callable[[Path], None]) -> None:
    """Make what is missing in `folder`: `cluster.key`, and `tls.pem` (certificate and key).

    Args:
        folder: private to the lab.
        make_cluster_key: writes a new key file; the cluster layer knows how.

    Raises:
        LabError: openssl is missing or refused.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / "cluster.key").exists():
        make_cluster_key(folder / "cluster.key")
    if not (folder / "tls.pem").exists():
        _make_certificate(folder)


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
