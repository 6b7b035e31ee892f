"""A real terminal to run programs in: tmux, with a server of its own."""

import contextlib
import os
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

DEADLINE_S = 60.0
"""Generous: a machine that runs other things stalls; what never comes is missed by far more."""

LEAVE_S = 10.0
"""Given to what runs in a terminal that has closed."""


class Terminal:
    """One window of tmux that runs one command; ends with it, and with `close`."""

    def __init__(self, folder: Path, command: Sequence[str], size: tuple[int, int]) -> None:
        self._socket = folder / "tmux.sock"
        width, height = map(str, size)
        shell = f"{shlex.join(command)}; echo ended with $?; exec sleep 1000"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", width, "-y", height, shell)

    def press(self, *keys: str) -> None:
        """Press keys, as tmux names them: "d", "Enter", "Escape"."""
        self._tmux("send-keys", *keys)

    def type(self, text: str, seen: str) -> None:
        """Type, and wait until it is seen: a key that follows at once may overtake it."""
        self._tmux("send-keys", "-l", text)
        self.shows(seen)

    @property
    def screen(self) -> str:
        """What stands on it now."""
        return self._tmux("capture-pane", "-p")

    @property
    def modes(self) -> str:
        """Whether the alternate screen is on, and whether the mouse is reported: "1 1" for a TUI."""
        asked = "#{alternate_on} #{mouse_any_flag}"
        return self._tmux("display-message", "-p", asked).strip()

    def pid_of(self, word: str) -> int:
        """The process begun in the window whose command line has this word."""
        for pid in self._begun():
            with contextlib.suppress(OSError):
                if word in Path(f"/proc/{pid}/cmdline").read_bytes().decode():
                    return pid
        raise AssertionError(f"{word} does not run in the terminal")

    def _begun(self) -> list[int]:
        """Every process below the window's shell, nearest first."""
        found = []
        ahead = [int(self._tmux("display-message", "-p", "#{pane_pid}"))]
        while ahead:
            pid = ahead.pop(0)
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                ahead += map(int, children)
                found += map(int, children)
        return found

    def until(self, holds: Callable[[str], bool], what: str) -> str:
        """Wait until what stands on it is so; the screen then."""
        end = time.monotonic() + DEADLINE_S
        while not holds(screen := self.screen):
            assert time.monotonic() < end, f"not seen: {what}\n{screen}"
            time.sleep(0.05)
        return screen

    def shows(self, *texts: str) -> str:
        """Wait until all of these stand on it; the screen then."""
        return self.until(lambda screen: all(t in screen for t in texts), " and ".join(texts))

    def close(self) -> None:
        """End tmux and all that was begun in it; what does not end by itself is killed."""
        handles = []
        with contextlib.suppress(subprocess.CalledProcessError):
            for pid in self._begun():
                with contextlib.suppress(ProcessLookupError):
                    handles.append(os.pidfd_open(pid))  # a number may be somebody else's by then
        subprocess.run(
            ["tmux", "-S", self._socket, "kill-server"], check=False, capture_output=True
        )
        for handle in handles:
            if not select.select([handle], [], [], LEAVE_S)[0]:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout
