"""The senses in force, and their replacement while the controller runs."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from haman.config.model import Config
from haman.controller.senses import SensesSnapshot


class SensesView(Protocol):
    """The senses, as far as the controller reads and runs them."""

    async def run(self) -> None:
        """Sense until cancelled."""

    def snapshot(self) -> SensesSnapshot:
        """What is known now; cheap."""


MakeSenses = Callable[[Config, Callable[[], None]], SensesView]
"""From the configuration, and what to call when the condition changed."""


class Sensing:
    """Runs senses; others from scratch when a reload changed what they look at."""

    def __init__(self, config: Config, make: MakeSenses, on_change: Callable[[], None]) -> None:
        self._config = config
        self._make = make
        self._on_change = on_change
        self._senses = make(config, on_change)
        self._running: asyncio.Task[None] | None = None

    def snapshot(self) -> SensesSnapshot:
        """What is known now; cheap."""
        return self._senses.snapshot()

    def reconfigure(self, config: Config) -> None:
        """Take over a configuration."""
        before, self._config = self._config, config
        if (config.proxy, config.saturation) == (before.proxy, before.saturation):
            return
        self._senses = self._make(config, self._on_change)
        if self._running is not None:
            self._running.cancel()

    async def run(self) -> None:
        """Sense until cancelled; new senses begin where a reload cancelled the old."""
        while True:
            self._running = asyncio.get_running_loop().create_task(self._senses.run())
            try:
                await asyncio.wait({self._running})
            finally:
                self._running.cancel()
            if not self._running.cancelled():
                self._running.result()
                raise RuntimeError("the senses ended")
