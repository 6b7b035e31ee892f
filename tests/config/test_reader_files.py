"""What the reader makes of files that are missing, odd or not text."""

import os
from pathlib import Path

import pytest

from haman.config.reader import FILE_SIZE_MAX, read
from tests.config.test_reader import MINIMAL, PAIR, vip


def test_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "haman.toml"
    path.write_text(PAIR)
    config, found = read(path)
    assert config is not None
    assert not found


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "haman.toml"
    assert [str(p) for p in read(path)[1]] == [f"{path}: cannot be read: No such file or directory"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert [str(p) for p in read(tmp_path)[1]] == [f"{tmp_path}: cannot be read: Is a directory"]


def test_a_path_that_cannot_be() -> None:
    config, found = read("a\0b")
    assert config is None
    assert found


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "haman.toml"
    path.write_text(PAIR)
    path.chmod(0)
    assert [str(p) for p in read(path)[1]] == [f"{path}: cannot be read: Permission denied"]


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "haman.toml"
    path.write_bytes(b"[node]\nname = '\xff'\n")
    assert [str(p) for p in read(path)[1]] == [f"{path}:2:9: is not UTF-8 text"]


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "haman.toml"
    path.write_bytes(b"#" * (FILE_SIZE_MAX + 1))
    assert [str(p) for p in read(path)[1]] == [f"{path}: is larger than 1048576 bytes"]


def test_the_password_file_must_be_there_and_hold_one(tmp_path: Path) -> None:
    path, secret = tmp_path / "haman.toml", tmp_path / "password"
    path.write_text(MINIMAL + vip(f"version = 2\nauth_password_file = '{secret}'"))
    key = f"{path}: vip[web].auth_password_file"
    assert [str(p) for p in read(path)[1]] == [
        f"{key}: {secret} cannot be read: No such file or directory"
    ]
    secret.write_text("\n")
    assert [str(p) for p in read(path)[1]] == [f"{key}: {secret} is empty"]
    secret.write_text("secret\n")
    assert read(path)[0] is not None
