"""Uploads to a store that a URL names; the URL's secrets stay secret."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import fsspec
import pytest

from langsmith_realtime import Recording
from langsmith_realtime.core.payloads.scrubbing import public_url
from langsmith_realtime.recording import storage
from tests.support.processes import unix_only


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/folder", "s3://bucket/folder"),
        ("s3://key:secret@bucket/folder", "s3://bucket/folder"),
        ("s3://key:sec/ret@bucket/folder", "s3://bucket/folder"),
        ("s3://key:sec?r#et@bucket/folder", "s3://bucket/folder"),
        ("https://token@host/folder?sig=secret#secret", "https://host/folder"),
        ("s3://bucket/me@home/folder", "s3://bucket/me@home/folder"),
        (
            "abfs://container@account.dfs.core.windows.net/folder",
            "abfs://container@account.dfs.core.windows.net/folder",
        ),
        ("abfs://user:secret@account/folder", "abfs://account/folder"),
        ("file:///folder", "file:///folder"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert public_url(url) == shown


def test_a_file_is_uploaded_under_its_own_name(tmp_path: Path) -> None:
    source = tmp_path / "a.wav"
    source.write_bytes(b"sound" * 1_000_000)
    assert storage.upload(source, "memory://folder/") == "memory://folder/a.wav"
    with fsspec.open("memory://folder/a.wav") as stored:
        assert stored.read() == source.read_bytes()


@unix_only
def test_only_the_owner_can_read_a_file_stored_on_the_local_disk(tmp_path: Path) -> None:
    source, folder = tmp_path / "a.wav", tmp_path / "deep" / "er"
    source.write_bytes(b"sound")
    assert storage.upload(source, f"file://{folder}") == f"file://{folder}/a.wav"
    assert (folder / "a.wav").read_bytes() == b"sound"
    assert stat.S_IMODE((folder / "a.wav").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    source.write_bytes(b"more")  # a recovery uploads it again
    assert storage.upload(source, f"file://{folder}") == f"file://{folder}/a.wav"
    assert (folder / "a.wav").read_bytes() == b"more"
    (folder / "a.wav").unlink()
    (folder / "a.wav").symlink_to(source)
    with pytest.raises(OSError, match="symbolic"):
        storage.upload(source, f"file://{folder}")


def test_a_url_without_fsspec_raises_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(
        ValueError, match=r"s3:// needs fsspec; install it with: pip install 'langsmith-realtime\[storage\]'"
    ):
        Recording(directory="s3://key:secret@bucket")
    assert Recording(directory="folder").directory == "folder"


def test_an_unknown_store_raises_an_error_without_its_secrets() -> None:
    with pytest.raises(ValueError, match="cannot be at nowhere://") as refused:
        Recording(directory="nowhere://key:secret@bucket")
    assert "secret" not in str(refused.value)


def test_the_representation_of_options_hides_the_url() -> None:
    assert "secret" not in repr(Recording(directory="memory://key:secret@bucket"))
