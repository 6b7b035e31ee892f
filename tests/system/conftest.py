"""The same LAN as the engine's tests."""

from tests.engine.conftest import lan

__all__ = ["lan"]
