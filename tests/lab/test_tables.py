"""Results of benchmarks as files, and README's tables, which are made from those in the repository."""

import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from haman.cli.root import cli
from haman.lab import results, tables

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / tables.FOLDER
AT = datetime(2026, 11, 28, 8, 30, tzinfo=UTC)
MOVES = {
    agent: (
        {"established": 1000, "lost": 0, "unanswered": 0, "gap_ms": 1.5, "still_ms": 0.5}
        | {"unheld_ms": 0.0, "doubled": 0, "silence_ms": 2.0},
    )
    for agent in ("keepalived", "haman")
}


class Seen(msgspec.Struct, frozen=True):
    """As benchmarks have them: what one repetition saw."""

    route_ms: float | None
    failed: int
    told: tuple[str, ...] = ()


def saved(folder: Path, table: object = MOVES, name: str = "pair-moves", at: datetime = AT) -> Path:
    return results.save(folder, results.result_of(name, table, repetitions=7, at=at))


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        (Seen(0.1, 2, ("said",)), Seen),
        ((Seen(None, 1), Seen(1.5, 2)), tuple[Seen, ...]),
        ({"a": (Seen(None, 1),)}, dict[str, tuple[Seen, ...]]),
    ],
)
def test_any_table_of_structs_comes_back_as_it_was(tmp_path: Path, table, kind) -> None:
    path = saved(tmp_path, table, "storm-surge")
    assert path.name == "storm-surge-2026-11-28.json"
    result = results.read(path)
    assert results.read_table(result, kind) == table
    assert (result.repetitions, result.at) == (7, "2026-11-28T08:30:00+00:00")
    assert result.versions.keys() == {"haman", "Python"}


def test_what_is_no_result_is_told_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "pair-moves-2026-11-28.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"pair-moves-2026-11-28\.json: is no result"):
        results.read(path)


def test_a_result_of_a_benchmark_that_has_changed_is_to_be_measured_again(tmp_path: Path) -> None:
    result = results.read(saved(tmp_path, {"haman": ({"established": "many"},)}))
    with pytest.raises(ValueError, match=r"pair-moves of 2026-11-28.*measure it again"):
        tables.show(result)


def test_a_program_that_is_not_there_has_no_version() -> None:
    assert results.version_of(("no-such-program", "--version")) == ""
    assert results.version_of(("sh", "-c", "echo Keepalived v2.2.7 '(01/16,2022)' >&2")) == "2.2.7"
    assert results.version_of(("true",)) == ""


def test_the_newest_result_stands_between_the_markers(tmp_path: Path) -> None:
    text = "a\n<!-- table: pair-moves -->\nold\n<!-- end of table -->\nb\n"
    saved(tmp_path, MOVES | {"haman": MOVES["haman"] * 2}, at=AT.replace(day=1))
    saved(tmp_path)
    fresh = tables.refreshed(text, tmp_path)
    assert "| moves | 1 | 1 |" in fresh
    assert "2026-11-28: haman " in fresh
    assert fresh.startswith("a\n<!--")
    assert fresh.endswith("-->\nb\n")
    assert tables.refreshed(fresh, tmp_path) == fresh


def test_a_marker_without_a_result_is_told(tmp_path: Path) -> None:
    text = "<!-- table: pair-jitter -->\n<!-- end of table -->\n\n<!-- end of table -->"
    with pytest.raises(ValueError, match="no result 'pair-jitter'"):
        tables.refreshed(text, tmp_path)


def test_a_table_that_nobody_knows_is_told(tmp_path: Path) -> None:
    result = results.read(saved(tmp_path, name="pair-weather"))
    with pytest.raises(ValueError, match="no table 'pair-weather'"):
        tables.show(result)


def test_readme_says_what_was_measured() -> None:
    readme = (ROOT / "README.md").read_text()
    named = set(re.findall(r"<!-- table: ([\w-]+) -->", readme))
    assert named >= {"pair-faults", "pair-moves", "pair-jitter", "pair-routers"}
    assert tables.refreshed(readme, FOLDER) == readme


def test_results_in_the_repository_are_small_and_can_be_read() -> None:
    files = sorted(FOLDER.glob("*.json"))
    assert sum(path.stat().st_size for path in files) < 200_000
    for path in files:
        result = results.read(path)
        assert path.name == f"{result.name}-{result.at[:10]}.json"
        assert msgspec.json.decode(result.table)


def test_a_table_of_another_lab_is_refused(tmp_path: Path) -> None:
    words = ["lab", "bench", str(ROOT / "lab/pair.clab.yml"), "--only", "anycast"]
    answer = CliRunner().invoke(cli, words)
    assert answer.exit_code == 2
    assert "no table anycast of lab pair: its tables are pair-faults, pair-moves" in answer.output
