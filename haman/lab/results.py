"""What a benchmark measured, as a file of the repository: one table each, `NAME-DATE.json`.

A table is any msgspec Struct, or a tuple or dict of them. With it goes what a figure is worth nothing
without: date, kernel, cores, the versions of what was measured, and how often it was repeated. A line for each
key, so that a change of a table is one line of a difference.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

import haman
from haman.lab.files import write

PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "keepalived": ("keepalived", "--version"),
    "haproxy": ("haproxy", "-v"),
    "frr": ("/usr/lib/frr/zebra", "--version"),
    "bird": ("bird", "--version"),
    "exabgp": (sys.executable, "-m", "exabgp", "--version"),
}
"""How each that a table may name is asked for its version."""
ASK_S = 10.0
_VERSION = re.compile(r"\d+(?:\.\d+)+")
_DATED = re.compile(r"-\d{4}-\d\d-\d\d\.json$")


class Result(Struct, frozen=True):
    """One file.

    Attributes:
        name: of the table.
        at: ISO 8601, UTC.
        kernel: its version, without what who built it has put behind.
        cores: of the machine.
        versions: of haman, Python, and the programs of the table.
        repetitions: as the benchmark was told.
        table: as JSON; `read_table` gives it back as what it was.
    """

    name: str
    at: str
    kernel: str
    cores: int
    versions: dict[str, str]
    repetitions: int
    table: msgspec.Raw

    @property
    def origin(self) -> str:
        """One line that says what the figures are of."""
        named = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"{self.at[:10]}: {named}; Linux {self.kernel}, {self.cores} cores"


def result_of(
    name: str, table: object, *, repetitions: int, at: datetime, programs: tuple[str, ...] = ()
) -> Result:
    """A table with what it was measured on: here, now.

    Args:
        name: of the table, and of its file.
        table: a Struct, or a tuple or dict of them.
        repetitions: as the benchmark was told.
        at: when, UTC.
        programs: of `PROGRAMS`, those that were measured.
    """
    asked = {program: version_of(PROGRAMS[program]) for program in programs}
    own = {"haman": haman.__version__, "Python": platform.python_version()}
    return Result(
        name,
        at.isoformat(timespec="seconds"),
        (_VERSION.match(platform.release()) or [""])[0],
        os.cpu_count() or 1,
        own | {program: version for program, version in asked.items() if version},
        repetitions,
        msgspec.Raw(msgspec.json.encode(table)),
    )


def version_of(command: tuple[str, ...]) -> str:
    """The first number with a dot that a program says of itself; "" where it is not installed."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        said = subprocess.run(
            command, check=False, capture_output=True, text=True, errors="replace", timeout=ASK_S
        )
    except subprocess.TimeoutExpired:
        return ""
    found = _VERSION.search(said.stdout + said.stderr)
    return found[0] if found else ""


def save(folder: Path, result: Result) -> Path:
    """Write the file, in place of one of the same day; it belongs to whom the folder belongs to."""
    path = folder / f"{result.name}-{result.at[:10]}.json"
    fields = msgspec.structs.asdict(result)
    lines = [f'"{key}":{msgspec.json.encode(value).decode()}' for key, value in fields.items()]
    write(path, "{" + ",\n ".join(lines) + "}\n")
    owner = folder.stat()
    os.chown(path, owner.st_uid, owner.st_gid)  # benchmarks run as root, repositories do not
    return path


def read(path: Path) -> Result:
    """The result in a file.

    Raises:
        ValueError: it is none; the text names the file.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: is no result of a benchmark: {error}") from error


def read_table(result: Result, kind: Any) -> Any:
    """The table of a result.

    Raises:
        ValueError: it is not of that kind, as after a change of the benchmark: measure again.
    """
    try:
        return msgspec.json.decode(result.table, type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(f"{result.name} of {result.at}: {error}; measure it again") from error


def newest(folder: Path) -> dict[str, Path]:
    """The youngest file of each table, by name."""
    return {_DATED.sub("", path.name): path for path in sorted(folder.glob("*-*-*-*.json"))}
