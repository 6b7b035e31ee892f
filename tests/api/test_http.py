"""What loading the server costs, and leaves alone."""

import json
import os
import subprocess
import sys

import pytest

ASK = """
import json, os
from haman.api import server
from aiohttp import connector
context = connector._SSL_CONTEXT_VERIFIED
paths = [os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")]
print(json.dumps([context.cert_store_stats()["x509_ca"], paths]))
"""


@pytest.mark.parametrize("paths", [[None, None], ["/some/where.pem", "/some/where"]])
def test_no_certificates_are_read_and_others_find_theirs(paths: list[str | None]) -> None:
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {n: value for n, value in zip(names, paths, strict=True) if value is not None}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == [0, paths]
