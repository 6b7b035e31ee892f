"""The configuration reference: every key is taken, and what is left out has the value it says."""

import json
import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from haman.cli.root import cli
from haman.config.model import Config
from haman.config.reader import parse

FILE = Path(__file__).with_name("reference.toml")

REQUIRED = """
[proxy]
kind = "haproxy"
socket = "/run/haproxy/admin.sock"
[proxy.probe]
address = "127.0.0.1:443"
[[vip]]
name = "web"
interface = "eth0"
vrid = 51
addresses = ["10.77.0.100/24"]
[bgp]
local_as = 65001
router_id = "10.0.1.2"
[[bgp.neighbor]]
name = "tor1"
address = "10.0.1.1"
local_address = "10.0.1.2"
peer_as = 65000
[[anycast]]
name = "edge"
prefixes = ["192.0.2.100/32"]
"""
"""What has no default, and nothing else."""

OTHERWISE = {
    "node.name": socket.gethostname(),
    "node.site": "",
    "cluster.name": "",
    "cluster.key_file": "",
    "cluster.listen": "",
    "cluster.peer": [],
    "proxy.pidfile": "",
    "proxy.probe.tls": False,
    "saturation.resource": {},
    "vip.0.priority": 100,
    "bgp.neighbor.0.bfd": None,
    "anycast.0.prefixes": ["192.0.2.100/32"],
    "anycast.0.community": [],
    "anycast.0.med": None,
}
"""Defaults that differ from the value that the reference shows as an example."""
OPTIONAL = ("cluster.peer.", "saturation.resource.", "bgp.neighbor.0.bfd.")
"""Tables that are absent by default."""


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every key with its value; arrays of tables by number."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{path}.{number}")
    else:
        yield path, value


def plain(config: Config) -> dict[str, object]:
    return dict(leaves(json.loads(msgspec.json.encode(config))))


def parsed(text: str) -> Config:
    config, problems = parse(text, "haman.toml")
    assert problems == ()
    assert config is not None
    return config


REFERENCE = FILE.read_text(encoding="utf-8")
KEYS = dict(leaves(tomllib.loads(REFERENCE)))


def test_check_takes_every_key() -> None:
    result = CliRunner().invoke(cli, ["check", "--offline", str(FILE)])
    assert result.exit_code == 0, result.output


def test_the_values_arrive() -> None:
    given = plain(parsed(REFERENCE))
    assert {path: given.get(path) for path in KEYS} == KEYS


@pytest.mark.parametrize(
    "path", [path for path in KEYS if path not in OTHERWISE and not path.startswith(OPTIONAL)]
)
def test_left_out_means_the_value_of_the_reference(path: str) -> None:
    assert plain(parsed(REQUIRED))[path] == KEYS[path]


@pytest.mark.parametrize("path", list(OTHERWISE))
def test_left_out_means(path: str) -> None:
    assert plain(parsed(REQUIRED))[path] == OTHERWISE[path]


def test_no_key_is_missing_from_the_reference() -> None:
    """But those of other kinds of proxy."""
    others = {"proxy.status", "proxy.admin", "proxy.process"}
    known = {path for path in plain(parsed(REFERENCE)) if not path.startswith("saturation.")}
    assert known - others <= set(KEYS)
