"""CPU quotas for the proxies of a lab: a ceiling that is known, on a machine that others use too."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from haman.lab import kernel, left
from haman.lab.lab import Lab
from haman.lab.runtime import LabError

PERIOD_US = 20_000
QUOTA_US_MIN = 1000
"""The kernel takes no less."""


def proxies(lab: Lab, node: str) -> list[int]:
    """The proxy's processes on a node, as the host numbers them."""
    beside = kernel.processes_beside(lab.runtime.pids[node])
    return [pid for pid, name in beside if name == "haproxy"]


def spent_s(lab: Lab, node: str) -> float:
    """CPU time that the proxy of a node has spent; sched(7), /proc/PID/schedstat, first field."""
    tasks = (task for pid in proxies(lab, node) for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def limited(lab: Lab, cores: Mapping[str, float]) -> Iterator[None]:
    """Hold the proxy of each node to so many cores, in a control group of its own.

    Raises:
        LabError: there are no control groups with a quota here.
    """
    made = []
    try:
        for node, share in cores.items():
            group = _made(lab.runtime.pids[node])
            made.append(group)
            _limit(group, max(QUOTA_US_MIN, round(share * PERIOD_US)))
            for pid in proxies(lab, node):
                (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for group in made:
            for member in (group / "cgroup.procs").read_text().split():
                (group.parent / "cgroup.procs").write_text(member)
            group.rmdir()


def _made(pid: int) -> Path:
    group = left.group(pid)
    if group is None:
        raise LabError(
            "the storm needs CPU quotas, and there are no control groups in /sys/fs/cgroup"
        )
    return group


def _limit(group: Path, quota_us: int) -> None:
    if (group / "cpu.cfs_quota_us").exists():
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(quota_us))
    elif (group / "cpu.max").exists():
        (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
    else:
        raise LabError(f"{group}: this control group has no CPU quota")
