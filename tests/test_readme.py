"""What README says about the configuration and the command line is true of the code."""

import re
import tomllib
from pathlib import Path

import click
import msgspec
import pytest

from haman.cli.root import cli
from haman.config import model
from haman.config.reader import read
from tests.core.vrrp.diagram import mermaid

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_configurations_shown_are_accepted(tmp_path: Path) -> None:
    blocks = [b for b in re.findall(r"```toml\n(.*?)```", README, re.DOTALL) if "[node]" in b]
    assert blocks
    for text in blocks:
        tomllib.loads(text)
        key = tmp_path / "cluster.key"
        key.write_text("")
        path = tmp_path / "haman.toml"
        path.write_text(text.replace("/etc/haman/cluster.key", str(key)))
        config, problems = read(path)
        assert not problems
        assert config is not None


TABLES: dict[str, type[msgspec.Struct]] = {
    "[node]": model.Node,
    "[cluster]": model.Cluster,
    "[proxy]": model.Proxy,
    "[proxy.probe]": model.Probe,
    "[saturation]": model.Saturation,
    "[[vip]]": model.Vip,
    "[bgp]": model.Bgp,
    "[[bgp.neighbor]]": model.Neighbor,
    "[[anycast]]": model.Anycast,
    "[api]": model.Api,
    "[state]": model.State,
    "[engine]": model.Engine,
    "[hooks]": model.Hooks,
}
"""By the first column of the table of keys."""


@pytest.mark.parametrize("table", TABLES)
def test_every_key_is_listed_with_its_default(table: str) -> None:
    row = next(line for line in README.splitlines() if line.startswith(f"| `{table}` | "))
    for key in msgspec.structs.fields(TABLES[table]):
        if key.name in {"peer", "neighbor", "probe", "resource"}:
            continue  # tables with a row, or an example, of their own
        assert f"`{key.name}`" in row
        if isinstance(key.default, int | float) and not isinstance(key.default, bool):
            assert re.search(rf"`{key.name}` {key.default:.2f}\b|`{key.name}` {key.default}\b", row)


def test_every_verb_is_shown() -> None:
    for name in cli.list_commands(click.Context(cli)):
        assert re.search(rf"`haman {name}\b", README)


def test_every_verb_shown_exists() -> None:
    shown = set(re.findall(r"^\| `haman ([a-z-]+)", README, re.MULTILINE))
    assert shown
    with click.Context(cli) as context:
        assert shown <= set(cli.list_commands(context))


def test_the_diagram_is_made_from_the_table() -> None:
    assert mermaid() in README
