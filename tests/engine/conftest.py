"""LANs and agents that clean up after themselves."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.net import Agent, Host, Lan


@pytest.fixture
def lan() -> Iterator[Lan]:
    built = Lan(2)
    yield built
    built.close()


class Agents:
    """Makes agents."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made: list[Agent] = []

    def make(self, host: Host, toml: str) -> Agent:
        agent = Agent(host, self.directory, toml)
        self.made.append(agent)
        return agent

    def start(self, host: Host, toml: str) -> Agent:
        return self.make(host, toml).start()


@pytest.fixture
def agents(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Agents]:
    made = Agents(tmp_path)
    yield made
    for agent in made.made:
        agent.close()
    for log in sorted(tmp_path.glob("engine-*.log")):
        if log.stat().st_size:
            sys.stdout.write(f"--- {log.name}\n{log.read_text()}")
