"""Reads scenario files of the simulation: TOML in, every problem at once."""

from collections.abc import Sequence
from pathlib import Path

import tomli

from haman.config.walk import Findings, build
from haman.sim.fleet.scenario import Scenario, problems


class BadScenarioError(Exception):
    """A scenario cannot be used; `problems` holds a line for every reason."""

    def __init__(self, found: Sequence[str]) -> None:
        super().__init__("\n".join(found))
        self.problems = tuple(found)


def read_scenario(path: Path) -> Scenario:
    """The scenario of a file.

    Raises:
        BadScenarioError: with every problem of the file.
    """
    try:
        tables = tomli.loads(path.read_text())
    except OSError as error:
        raise BadScenarioError([f"{path}: {error.strerror or error}"]) from error
    except (UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        raise BadScenarioError([f"{path}: {error}"]) from error
    findings = Findings()
    scenario: Scenario = build(Scenario, tables, findings)
    for message, key, other in problems(scenario):
        findings.add_rule(message, key, other)
    if findings.found:
        raise BadScenarioError([f"{path}: {key}: {message}" for key, message in findings.found])
    return scenario
