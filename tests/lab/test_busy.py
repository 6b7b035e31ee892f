"""The check command of the naive policy, against a stats socket."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from haman.lab.busy import main, rate

INFO = "Name: HAProxy\nSslFrontendKeyRate: 41\nSslFrontendMaxKeyRate: 99\nIdle_pct: 12\n\n"


@contextmanager
def stats(path: Path, answer: str) -> Iterator[str]:
    """A stats socket that answers once."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            asked, _ = listening.accept()
            with asked:
                assert asked.recv(64) == b"show info\n"
                asked.sendall(answer.encode())

        serving = threading.Thread(target=serve)
        serving.start()
        yield str(path)
        serving.join()


@pytest.mark.parametrize(("limit", "status"), [("40.5", 1), ("41", 1), ("41.5", 0)])
def test_at_its_limit_and_above_it_fails(tmp_path: Path, limit: str, status: int) -> None:
    with stats(tmp_path / "admin.sock", INFO) as path:
        assert main([limit, path]) == status


def test_a_proxy_that_does_not_say_is_no_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["40", str(tmp_path / "none.sock")]) == 1
    assert "No such file" in capsys.readouterr().out
    with stats(tmp_path / "admin.sock", "Unknown command\n\n") as path:
        assert main(["40", path]) == 1
    assert "no SslFrontendKeyRate" in capsys.readouterr().out


def test_an_answer_without_the_rate_is_none() -> None:
    assert rate(INFO) == 41
    with pytest.raises(ValueError, match="SslFrontendKeyRate"):
        rate("SslFrontendMaxKeyRate: 99\n")
