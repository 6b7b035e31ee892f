"""The key file: what is accepted, and how precisely the rest is refused."""

import base64
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.cluster.keys import (
    ClusterKey,
    KeyFileError,
    generate,
    parse_keys,
    read_key_file,
    write_key_file,
)

GOOD = ClusterKey("0011aabb", bytes(range(32))).line
OTHER = ClusterKey("0011aabc", bytes(range(32))).line


def test_written_file_is_read_back_first_key_first(tmp_path: Path) -> None:
    first, second = generate(), generate()
    path = tmp_path / "cluster.key"
    write_key_file(path, first, second)
    assert read_key_file(path) == (first, second)
    assert path.stat().st_mode & 0o777 == 0o600


def test_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "cluster.key"
    path.write_text(GOOD)
    with pytest.raises(FileExistsError):
        write_key_file(path, generate())
    assert path.read_text() == GOOD


def test_generated_keys_differ_and_do_not_print_their_secret() -> None:
    one, two = generate(), generate()
    assert one.secret != two.secret
    assert one.secret.hex() not in repr(one)
    assert base64.b64encode(one.secret).decode() not in repr(one)


def test_comments_and_empty_lines_are_ignored() -> None:
    assert len(parse_keys(f"# rotation\n\n{GOOD}\n  {OTHER}  \n".encode(), "k")) == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "k: holds no key; make one with `haman keygen`"),
        ("# nothing\n", "k: holds no key"),
        (f"{GOOD}\nrubbish", "k: line 2: malformed"),
        (GOOD.replace("key-1", "key-2"), "k: line 1: unknown format"),
        (GOOD.replace("0011aabb", "0011AABB"), "k: line 1: the key id is not 8"),
        ("haman-key-1:0011aabb:!!!", "k: line 1: the key is not base64"),
        ("haman-key-1:0011aabb:AAAA", "k: line 1: the key has 3 bytes"),
        (f"{GOOD}\n\n{GOOD}", "k: line 3: key id 0011aabb is there already"),
        (
            f"{GOOD}\n{OTHER}\n{OTHER.replace('aabc', 'aabd')}",
            "k: line 3: more than 2 keys",
        ),
        ("haman-key-1:0011aabb:é", "k: line 1: malformed"),
    ],
)
def test_problem_is_told_with_its_line(content: str, says: str) -> None:
    with pytest.raises(KeyFileError) as error:
        parse_keys(content.encode(), "k")
    assert str(error.value).startswith(says)


@given(st.binary(max_size=200))
def test_any_bytes_are_keys_or_the_one_error(content: bytes) -> None:
    try:
        assert parse_keys(content, "k")
    except KeyFileError as error:
        assert str(error).startswith("k: ")  # noqa: PT017 - both ways out are allowed


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o601])
def test_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "cluster.key"
    path.write_text(GOOD)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"mode 0{mode:o} lets everybody in"):
        read_key_file(path)


def test_group_may_read(tmp_path: Path) -> None:
    path = tmp_path / "cluster.key"
    path.write_text(GOOD)
    path.chmod(0o640)
    assert len(read_key_file(path)) == 1


def test_missing_unreadable_and_huge_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="no such file"):
        read_key_file(tmp_path / "none")
    with pytest.raises(KeyFileError, match="cannot be read: Is a directory"):
        read_key_file(tmp_path)
    huge = tmp_path / "huge"
    huge.write_bytes(b"#" * 5000)
    huge.chmod(0o600)
    with pytest.raises(KeyFileError, match="longer than 4096"):
        read_key_file(huge)


@pytest.mark.privileged
def test_a_key_that_its_user_may_not_read_says_whom_to_give_it() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        path = Path(directory) / "cluster.key"
        write_key_file(path, generate())
        said, say = os.pipe()
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            try:
                read_key_file(path)
            except KeyFileError as error:
                os.write(say, str(error).encode())
            os._exit(0)
        os.waitpid(child, 0)
        text = os.read(said, 4096).decode()
        os.close(said)
        os.close(say)
    assert text == f"{path}: user id 65534 may not read it; `chgrp haman` and `chmod 0640`"
