"""Clock, real time and systemd."""

import gc
import os
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from haman.system import clock, realtime
from haman.system.systemd import Notifier


def fires(timer: clock.Timer, timeout_s: float) -> bool:
    return bool(select.select([timer], [], [], timeout_s)[0])


def test_the_timer_fires_at_its_instant_and_not_before() -> None:
    timer = clock.Timer()
    assert not fires(timer, 0)
    due_ns = clock.monotonic_ns() + 3_500_000
    timer.arm(due_ns)
    assert fires(timer, 2)
    assert clock.monotonic_ns() >= due_ns
    timer.arm(None)
    assert not fires(timer, 0)
    timer.arm(1)
    assert fires(timer, 2)
    timer.arm(-5)
    assert fires(timer, 2)
    timer.close()


def in_a_process(code: str) -> str:
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return out.stdout.strip()


@pytest.mark.privileged
def test_real_time_is_not_inherited() -> None:
    code = (
        "import os; from haman.system import realtime\n"
        "assert realtime.raise_priority(50) == ''\n"
        "print(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR)\n"
        "print(os.sched_getparam(0).sched_priority, flush=True)\n"
        "pid = os.fork()\n"
        "if not pid: print(os.sched_getscheduler(0) == os.SCHED_OTHER, flush=True); os._exit(0)\n"
        "os.waitpid(pid, 0)"
    )
    assert in_a_process(code).split() == ["True", "50", "True"]


@pytest.mark.privileged
def test_memory_is_locked_now_and_later() -> None:
    code = (
        "from haman.system import realtime\n"
        "assert realtime.lock_memory() == ''\n"
        "more = bytearray(b'x' * 3_000_000)\n"
        "print([l.split()[1] for l in open('/proc/self/status') if l.startswith(('VmLck', 'VmRSS'))])"
    )
    locked, resident = (int(n) for n in eval(in_a_process(code)))
    assert locked > 0
    assert resident > 3000


def test_what_the_kernel_refuses_is_said() -> None:
    code = (
        "import os, resource; from haman.system import realtime\n"
        "resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))\n"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n"
        "os.getuid() or os.setuid(65534)\n"
        "print(realtime.raise_priority(50)); print(realtime.lock_memory())"
    )
    priority, memory = in_a_process(code).splitlines()
    assert "LimitRTPRIO" in priority
    assert "LimitMEMLOCK" in memory


def test_settling_hides_what_lives_from_the_collector() -> None:
    interval = sys.getswitchinterval()
    try:
        realtime.settle_interpreter()
        assert gc.get_freeze_count() > 0
        assert sys.getswitchinterval() == pytest.approx(realtime.SWITCH_INTERVAL_S)
    finally:
        gc.unfreeze()
        sys.setswitchinterval(interval)


def test_systemd_hears_of_it(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ear.bind(str(path))
    ear.settimeout(2)
    mine = {
        "NOTIFY_SOCKET": str(path),
        "WATCHDOG_USEC": "3000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    notifier = Notifier(mine)
    assert notifier.watchdog_ns == 3_000_000_000
    notifier.ready("2 VIPs")
    notifier.alive()
    notifier.reloading(5_000_000)
    notifier.stopping(2_000_000_000)
    assert [ear.recv(100) for _ in range(4)] == [
        b"READY=1\nSTATUS=2 VIPs",
        b"WATCHDOG=1",
        b"RELOADING=1\nMONOTONIC_USEC=5000",
        b"STOPPING=1\nEXTEND_TIMEOUT_USEC=2000000",
    ]
    ear.close()
    notifier.close()
    notifier = Notifier(mine)
    notifier.stopping(2_000_000_000)  # nobody there any more: no error
    notifier.close()
    other = Notifier({**mine, "WATCHDOG_PID": "1"})
    assert other.watchdog_ns is None
    other.close()
    assert Notifier({"WATCHDOG_USEC": "3000000"}).watchdog_ns is None


def test_a_full_socket_of_systemd_never_blocks() -> None:
    name = f"haman-test-{os.getpid()}-{threading.get_ident()}"
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ear.bind("\0" + name)
    notifier = Notifier({"NOTIFY_SOCKET": "@" + name})
    for _ in range(10_000):
        notifier.alive()
    assert ear.recv(100) == b"WATCHDOG=1"
    ear.close()
    notifier.close()
