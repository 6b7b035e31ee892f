"""The pair for real: HAProxy, haman and clients, and the quick drills held to their expectations."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from haman.cli.lab import make_cluster_key
from haman.lab import lab, report, run
from haman.lab.compare import differences
from haman.lab.drill import read_drill, relaxed
from haman.lab.simulation import simulate
from haman.lab.verdict import judge
from tests.lab.labs import SLACK, quiet
from tests.lab.test_simulation import SHOWN

pytestmark = [pytest.mark.privileged, pytest.mark.real("haproxy")]

SHIPPED = Path(__file__).parents[2] / "lab"
# The others take longer; `haman lab drill --all` does them all.
QUICK = ("agent-crash-all", "agent-crash-controller", "agent-crash-engine", "agent-reload")
QUICK += ("node-silent", "planned-stop", "proxy-crash", "proxy-reload")
DRILLS = [SHIPPED / "drills" / f"{name}.toml" for name in QUICK]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Lab]:
    """The shipped lab in a checkout of its own, so that a developer's lab is left alone."""
    tree = tmp_path_factory.mktemp("tree")
    (tree / ".git").mkdir()
    path = Path(shutil.copytree(SHIPPED, tree / "lab")) / "pair.clab.yml"
    try:
        running = lab.up(path, make_cluster_key, say=quiet)
        run.wait_until_calm(running)
        yield running
    finally:
        lab.down(path)


def test_the_preferred_node_serves_both_families(pair: lab.Lab) -> None:
    assert pair.holders() == {"web": ("lb1",)}
    for url in ("http://10.77.0.100/", "https://10.77.0.100/", "http://[fd00:77::100]/"):
        done = pair.runtime.exec("client", ["curl", "-sSk", "--max-time", "2", url])
        assert done.stdout.strip() in {"be1", "be2"}, done.stderr


@pytest.mark.parametrize("path", DRILLS, ids=lambda path: path.stem)
def test_drill(pair: lab.Lab, path: Path) -> None:
    drill = relaxed(read_drill(path), SLACK)
    try:
        record = run.run(pair, drill, say=quiet)
    finally:
        run.recover(pair)
    assert report.passed(judge(record)), report.to_text(record)
    if path.stem in SHOWN:
        modelled = simulate(pair.topology, drill)
        judged, apart = differences(record, modelled)
        assert judged == len(judge(modelled))
        assert apart == ()
