"""The start list of a node."""

from pathlib import Path

import pytest

from haman.lab.init import Entry, read_list

LISTS = sorted((Path(__file__).parents[2] / "lab").glob("*/*processes.toml"))


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_shipped_lists_are_good(path: Path) -> None:
    assert read_list(path)


def test_a_node_without_a_list_starts_nothing(tmp_path: Path) -> None:
    assert read_list(tmp_path / "none.toml") == ()


def test_an_entry_is_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('[[process]]\nname = "x"\ncommand = ["a", "b"]\nrestart_delay_s = 2\n')
    assert read_list(path) == (Entry("x", ("a", "b"), "", 2),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[process]\n", "line 1"),
        ('[[process]]\nname = "x"\n', "name and command are needed"),
        ('[[process]]\nname = "x"\ncommand = ["a"]\nrestart = 1\n', "unknown keys"),
    ],
)
def test_a_bad_list_says_what_is_wrong(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=expected):
        read_list(path)
