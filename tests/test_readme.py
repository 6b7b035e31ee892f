"""What README says about the configuration and the command line is true of the code."""

import re
import tomllib
from pathlib import Path

import click

from haman.cli.root import cli
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


def test_every_verb_shown_exists() -> None:
    shown = set(re.findall(r"^\| `haman ([a-z-]+)", README, re.MULTILINE))
    assert shown
    with click.Context(cli) as context:
        assert shown <= set(cli.list_commands(context))


def test_the_diagram_is_made_from_the_table() -> None:
    assert mermaid() in README
