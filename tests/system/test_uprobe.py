"""Counting calls in other processes: real ones where permitted, and the reason where not."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from haman.system.elf import function_offsets
from haman.system.uprobe import PROCESSES_MAX, CallCounter

CODE = """
import hashlib, sys
for line in sys.stdin:
    for _ in range(int(line)):
        hashlib.new("sha256").copy()
    print("done", flush=True)
"""
COPY = {"EVP_MD_CTX_copy": "libcrypto"}


def library() -> str:
    """The libcrypto that this Python has loaded."""
    hashlib.new("sha256")
    lines = Path("/proc/self/maps").read_text().splitlines()
    found = {line.partition("/")[2] for line in lines if "libcrypto" in line}
    if not found:
        pytest.skip("this Python has no shared libcrypto")
    return f"/{found.pop()}"


@contextmanager
def caller() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        call(process, 0)
        try:
            yield process
        finally:
            process.kill()


def call(process: subprocess.Popen[str], times: int) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{times}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def test_offsets_of_functions() -> None:
    path = library()
    offsets = function_offsets(path, ["EVP_MD_CTX_copy", "EVP_DigestSign", "no_such_function"])
    assert set(offsets) == {"EVP_MD_CTX_copy", "EVP_DigestSign"}
    assert len(set(offsets.values())) == 2
    assert all(0 < offset < Path(path).stat().st_size for offset in offsets.values())


@pytest.mark.parametrize(
    "content", [b"", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(60), b"#!/bin/sh\n" * 20]
)
def test_what_is_no_library_is_refused(tmp_path, content) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"ELF|cut short|empty"):
        function_offsets(str(path), ["f"])


def permitted(counter: CallCounter, pid: int) -> None:
    counter.follow(frozenset({pid}))
    said = counter.read()
    if isinstance(said, str) and ("CAP_" in said or "no uprobe" in said):
        pytest.skip(said)


@pytest.mark.privileged
def test_calls_are_counted_in_the_followed_process_alone() -> None:
    library()
    counter = CallCounter(COPY)
    with caller() as one, caller() as other:
        permitted(counter, one.pid)
        before = counter.read()
        assert isinstance(before, dict)
        call(one, 7)
        call(other, 100)
        after = counter.read()
        assert isinstance(after, dict)
        assert after["EVP_MD_CTX_copy"] - before["EVP_MD_CTX_copy"] in {7, 14}
        counter.close()


@pytest.mark.privileged
def test_what_an_ended_process_did_stays_counted() -> None:
    library()
    counter = CallCounter(COPY)
    with caller() as one:
        permitted(counter, one.pid)
        call(one, 5)
        counted = counter.read()
        assert isinstance(counted, dict)
        assert counted["EVP_MD_CTX_copy"] >= 5
    with caller() as other:
        counter.follow(frozenset({other.pid}))
        assert counter.read() == counted
        call(other, 5)
        assert counter.read() == {"EVP_MD_CTX_copy": 2 * counted["EVP_MD_CTX_copy"]}
        counter.close()


@pytest.mark.privileged
def test_nothing_is_left_open() -> None:
    library()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with caller() as one:
        counter = CallCounter({"EVP_DigestSign": "libcrypto", "no_such_function": "libcrypto"})
        counter.follow(frozenset({one.pid}))
        assert isinstance(counter.read(), str)
        counter.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.privileged
@pytest.mark.parametrize(
    ("functions", "words"),
    [
        ({"no_such_function": "libcrypto"}, "exports no no_such_function"),
        ({"f": "libnone"}, "has loaded no shared libnone"),
    ],
)
def test_why_not(functions, words) -> None:
    library()
    counter = CallCounter(functions)
    with caller() as one:
        counter.follow(frozenset({one.pid}))
        said = counter.read()
        assert isinstance(said, str)
        assert words in said


def test_nobody_is_no_zero() -> None:
    counter = CallCounter(COPY)
    assert isinstance(counter.read(), str)
    counter.follow(frozenset())
    assert counter.read() == "no process is followed yet"
    counter.follow(frozenset({2**22 + 1}))
    said = counter.read()
    assert isinstance(said, str)
    assert "has ended" in said
    counter.follow(frozenset(range(1, PROCESSES_MAX + 2)))
    said = counter.read()
    assert isinstance(said, str)
    assert "more than" in said
