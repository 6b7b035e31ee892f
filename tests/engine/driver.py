"""Run an engine as `haman agent` does, with `relay.py` as its controller.

Arguments: configuration file, path of the relay's socket.
"""

import errno
import itertools
import os
import sys
import time
from pathlib import Path

from haman.engine.guard import fork_guard


def refuse_while(path: Path) -> None:
    """Have the kernel refuse new addresses, as far as the engine can tell, while the file is there."""
    from haman.engine import anycast, vips
    from haman.system.netlink import Acknowledged, new_address
    from haman.system.netlink_socket import Requests

    change = Requests.change

    def refusing(requests, builds):
        if path.exists() and any(build.func is new_address for build in builds):
            return [Acknowledged(0, errno.EPERM) for _ in builds]
        return change(requests, builds)

    Requests.change = refusing  # type: ignore[method-assign]
    anycast.HOLD_OFF_NS = vips.HOLD_OFF_FIRST_NS = 1_000_000_000  # type: ignore[misc]  # not ten s


def main() -> int:
    guard = fork_guard()
    from haman.config.reader import read
    from haman.engine import parting
    from haman.engine.process import Engine
    from haman.system import clock

    path, relay = sys.argv[1:3]
    config, problems = read(path)
    assert config is not None, problems

    def load():
        anew, why_not = read(path)
        return anew, [str(problem) for problem in why_not]

    if "WALL_CLOCK_JUMPS" in os.environ:
        day_ns = 86_400_000_000_000
        jumps = itertools.cycle((0, day_ns, -day_ns))
        clock.wall_ns = lambda: time.time_ns() + next(jumps)

    if "HAND_OVER_WITHIN_S" in os.environ:
        parting.ANSWER_NS = int(os.environ["HAND_OVER_WITHIN_S"]) * 1_000_000_000  # type: ignore[misc]

    if "REFUSE_WHILE" in os.environ:
        refuse_while(Path(os.environ["REFUSE_WHILE"]))

    controller = [sys.executable, "-S", str(Path(__file__).parent / "relay.py"), relay]
    engine = Engine(
        config,
        controller,
        guard,
        load,
        environment=os.environ,
        monitor_buffer_bytes=int(os.environ.get("MONITOR_BUFFER_BYTES", "1048576")),
    )
    return engine.run()


if __name__ == "__main__":
    sys.exit(main())
