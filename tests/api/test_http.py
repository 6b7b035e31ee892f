"""What loading the server costs, and leaves alone."""

import json
import subprocess
import sys

LOADED = """
import json, sys
from haman.api import server
print(json.dumps([name for name in ("aiohttp.client", "prometheus_client") if name in sys.modules]))
"""
BOTH = """
import json
from haman.api import server
import aiohttp
from aiohttp import web, connector
from haman.api.http import web as ours
whole = [aiohttp.ClientSession.__name__, aiohttp.web.Application.__name__, aiohttp.__version__ != ""]
print(json.dumps([*whole, web is ours, hasattr(aiohttp, "no_such_thing")]))
"""
OTHER = """
import sys
class Client:
    def find_spec(self, name, path, target=None):
        if name == "aiohttp.web_ws" and not hasattr(sys.modules["aiohttp"], "ClientSession"):
            raise ImportError("this release's server needs its client")
sys.meta_path.insert(0, Client())
from haman.api.http import web
print('"' + web.Application.__name__ + '"')
"""
BEFORE = """
import aiohttp
from haman.api.http import web
import json
print(json.dumps(aiohttp.web is web))
"""


def said(code: str) -> object:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_neither_the_client_nor_what_writes_metrics_is_loaded() -> None:
    assert said(LOADED) == []


def test_whoever_asks_for_the_client_gets_all_of_it() -> None:
    assert said(BOTH) == ["ClientSession", "Application", True, True, False]


def test_a_server_that_needs_its_client_gets_it() -> None:
    assert said(OTHER) == "Application"


def test_what_was_loaded_before_is_used() -> None:
    assert said(BEFORE) is True
