"""The benchmark's way through a real lab, with more virtual routers than a report holds unpacked."""

import shutil
from pathlib import Path

import pytest

from haman.cli.lab import make_cluster_key
from haman.lab import jitter_bench, lab, routers_bench
from haman.lab.contenders import HAMAN, prepare
from haman.lab.topology import read_topology
from tests.lab.labs import SHIPPED, quiet

ROUTERS = 40


@pytest.mark.privileged
def test_a_node_with_many_virtual_routers_is_heard_and_every_one_fails_over(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    path = Path(shutil.copytree(SHIPPED, tmp_path / "lab")) / "pair.clab.yml"
    prepared, services = prepare(read_topology(path), HAMAN, 100, ROUTERS)
    try:
        # Comes back when both nodes say of each other that they are in service: reports arrive.
        running = lab.bring_up(prepared, make_cluster_key, services=services, say=quiet)
        heard = jitter_bench.listen(running, 0.5, overloaded=False)
        assert heard.intervals_us
        assert heard.others == 0
        carried = routers_bench.measure(running, HAMAN, 100, 0.5)
    finally:
        lab.down(path)
    assert carried.held == ROUTERS
    assert carried.all_after_ms is not None
    assert carried.active.pss_mb > 0
