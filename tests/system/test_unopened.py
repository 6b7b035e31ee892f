"""Parts of a package without its own code, and the package as soon as somebody needs it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from haman.system.unopened import load

PACKAGE = "a_large_one"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("from . import other\nopened = True\nversion = '1'\n")
    (folder / "other.py").write_text("")
    (folder / "part.py").write_text("name = 'part'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [n for n in sys.modules if n.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_a_part_is_loaded_without_the_package_and_the_package_when_it_is_asked_for(
    package: Path,
) -> None:
    (part,) = load(PACKAGE, "part")
    assert part.name == "part"
    whole = sys.modules[PACKAGE]
    assert f"{PACKAGE}.other" not in sys.modules
    assert "opened" not in vars(whole)
    assert whole.version == "1"
    assert whole.opened
    assert whole.part is part
    with pytest.raises(AttributeError):
        _ = whole.missing


def test_another_part_does_not_open_it(package: Path) -> None:
    load(PACKAGE, "part")
    assert sys.modules[PACKAGE].other.__name__ == f"{PACKAGE}.other"
    assert "opened" not in vars(sys.modules[PACKAGE])


def test_a_part_that_needs_the_package_gets_it_or_what_stands_in(package: Path) -> None:
    (package / "part.py").write_text(f"from {PACKAGE} import version\n")
    assert load(PACKAGE, "part", version="0")[0].version == "0"
    for name in [n for n in sys.modules if n.partition(".")[0] == PACKAGE]:
        del sys.modules[name]
    assert load(PACKAGE, "part")[0].version == "1"


def test_what_is_not_there_is_an_import_error() -> None:
    with pytest.raises(ImportError):
        load("no_such_package", "part")
