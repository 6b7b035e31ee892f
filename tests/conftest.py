"""What every test may rely on: privileged tests are skipped, with a reason, without root.

Files with privileged tests come first, for they take longest: of several workers none begins one last.
"""

import os

import hypothesis
import pytest

# The same examples in every run. To look for others: `pytest --hypothesis-profile=default`.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.load_profile("same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = {item.path for item in items if item.get_closest_marker("privileged")}
    items.sort(key=lambda item: item.path not in slow)
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root: network namespaces and raw sockets")
    for item in items:
        if item.get_closest_marker("privileged"):
            item.add_marker(skip)
