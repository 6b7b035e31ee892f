"""The layers of the project, enforced: imports point downwards only.

core ← config ← {proxies system bgp cluster} ← {engine controller} ← api ← cli; the four in the
middle never import each other, `sim` drives core alone, `tui` knows api and core but not the
daemon, and each third-party package enters at one place.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("haman/**/*.py"), *ROOT.glob("tui/**/*.py")])

MAY_IMPORT = {
    "haman.core": set(),
    "haman.config": {"haman.core"},
    "haman.proxies": {"haman.core", "haman.config"},
    "haman.system": {"haman.core", "haman.config"},
    "haman.bgp": {"haman.core", "haman.config"},
    "haman.cluster": {"haman.core", "haman.config"},
    "haman.engine": {"haman.core", "haman.config", "haman.system"},
    "haman.controller": {
        "haman.core",
        "haman.config",
        "haman.proxies",
        "haman.system",
        "haman.bgp",
        "haman.cluster",
    },
    "haman.sim": {"haman.core"},
    "haman.playbook": {"haman.core", "haman.config", "haman.system", "haman.api"},
    "haman.lab": {"haman.core", "haman.config", "haman.system", "haman.api", "haman.sim"},
    "haman.api": {"haman.core", "haman.config", "haman.system", "haman.controller"},
    "haman.cli": {
        "haman.core",
        "haman.config",
        "haman.system",
        "haman.cluster",
        "haman.engine",
        "haman.controller",
        "haman.api",
        "haman.lab",
        "haman.playbook",
        "haman.sim",
        "tui",
    },
    "tui": {"haman.core", "haman.api"},
}

# Where each third-party package may enter; a trailing dot means the folder.
ENTRANCES = {
    "aiohttp": ("haman.api.http",),
    "click": ("haman.cli",),
    "cryptography": ("haman.cluster.",),
    "exabgp": ("haman.bgp.",),
    "msgspec": ("haman.", "tui."),
    "paramiko": ("haman.playbook.ssh", "haman.api.ssh"),
    "prometheus_client": ("haman.api.exposition",),
    "pyroute2": ("haman.lab.",),
    "rich": ("tui.", "haman.cli."),
    "textual": ("tui.",),
    "textual_serve": ("haman.cli.tui",),
    "tomli": ("haman.config.", "haman.lab.", "haman.cli.scenario"),
    "yaml": ("haman.lab.",),
}

CORE_MAY_NOT = {
    "asyncio",
    "os",
    "random",
    "secrets",
    "select",
    "signal",
    "socket",
    "subprocess",
    "threading",
    "time",
}


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(module: str) -> str:
    parts = module.split(".")
    return parts[0] if parts[0] == "tui" else ".".join(parts[:2])


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            yield node.module


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_point_downwards(path: Path) -> None:
    module = module_name(path)
    for name in imports(path):
        if name.split(".")[0] not in {"haman", "tui"} or name == "haman":
            continue
        target = layer(name)
        here = layer(module)
        assert target == here or target in MAY_IMPORT[here], f"{module} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_third_parties_enter_at_one_place(path: Path) -> None:
    module = module_name(path)
    for name in imports(path):
        top = name.split(".")[0]
        if top in sys.stdlib_module_names or top in {"haman", "tui"}:
            continue
        assert top in ENTRANCES, f"{module} imports {top}, which has no entrance"
        doors = ENTRANCES[top]
        assert any(f"{module}.".startswith(door) for door in doors), f"{module} imports {top}"


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if "core" in p.relative_to(ROOT).parts], ids=module_name
)
def test_core_is_pure(path: Path) -> None:
    for name in imports(path):
        top = name.split(".")[0]
        assert top == "haman" or top in sys.stdlib_module_names, f"{path.name} imports {name}"
        assert top not in CORE_MAY_NOT, f"{path.name} imports {name}"


QUICK_TO_LOAD = {
    "core",
    "config",
    "system",
    "engine",
    "controller",
    "bgp",
    "cluster",
    "proxies",
    "api",
}


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_what_an_agent_loads_defines_its_classes_quickly(path: Path) -> None:
    """A frozen dataclass of the standard library costs a millisecond when it is defined."""
    parts = path.relative_to(ROOT).parts
    if parts[1] not in QUICK_TO_LOAD or path.name == "frozen.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "dataclasses":
            names = {alias.name for alias in node.names}
            assert "dataclass" not in names, "take it from haman.core.frozen"


def test_files_stay_small() -> None:
    long = {module_name(p): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 400}
    assert not long, f"longer than 400 lines: {long}"


def loaded_by(code: str) -> set[str]:
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return {name.split(".")[0] for name in out.splitlines()[-1].split()}


def test_the_engine_loads_nothing_heavy() -> None:
    loaded = loaded_by(
        "import haman.cli.agent, haman.cluster.keys, haman.config.reader, haman.engine.process"
    )
    heavy = {"aiohttp", "asyncio", "cryptography", "paramiko", "pyroute2", "ssl", "sqlite3"}
    heavy |= {"http", "textual"}
    assert not loaded & heavy


def test_the_command_line_loads_no_terminal_ui() -> None:
    loaded = loaded_by("from haman.cli.root import cli; cli(['--help'], standalone_mode=False)")
    assert not loaded & {"textual", "paramiko", "aiohttp", "pyroute2"}
