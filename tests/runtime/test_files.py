"""Locks, access by position and changes of open files, where the operating system has what they need and where not."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from langsmith_realtime.runtime import forks
from langsmith_realtime.runtime.files import (
    bytes_on_disk,
    create_private,
    open_private,
    read_at,
    retry_while_open,
    try_lock,
    write_at,
)
from langsmith_realtime.runtime.forks import at_fork
from tests.support.processes import exit_code, fork


@pytest.fixture(params=["as it is", "without pread and pwrite"])
def _system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "as it is":
        monkeypatch.delattr(os, "pread", raising=False)
        monkeypatch.delattr(os, "pwrite", raising=False)


@pytest.mark.usefixtures("_system")
def test_bytes_are_read_and_written_at_a_position(tmp_path: Path) -> None:
    file = open_private(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    assert write_at(file, memoryview(b"world"), 6) == 5
    assert write_at(file, b"hello\n", 0) == 6
    assert read_at(file, 7, 4) == b"o\nworld"
    assert read_at(file, 7, 100) == b""
    os.close(file)
    assert (tmp_path / "file").read_bytes() == b"hello\nworld"


def test_a_locked_file_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    first, second = (open_private(tmp_path / "file", os.O_RDWR | os.O_CREAT) for _ in range(2))
    assert try_lock(first)
    assert not try_lock(second)
    os.close(first)
    assert try_lock(second)
    os.close(second)


def test_a_file_system_without_locks_raises(tmp_path: Path) -> None:
    file = open_private(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.close(file)
    with pytest.raises(OSError, match="Bad file descriptor"):
        try_lock(file)


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    create_private(tmp_path / "file")
    with pytest.raises(FileExistsError):
        create_private(tmp_path / "file")


def test_a_file_takes_its_size_where_the_system_does_not_say_more(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100))
    sparse: Any = SimpleNamespace(st_size=10_000, st_blocks=1)
    unknown: Any = SimpleNamespace(st_size=10_000)
    assert (bytes_on_disk(sparse), bytes_on_disk(unknown)) == (512, 10_000)
    assert bytes_on_disk((tmp_path / "file").stat()) >= 0


def test_a_change_is_tried_again_while_another_process_has_the_file_open() -> None:
    refusals = [PermissionError(), PermissionError()]

    def change() -> None:
        if refusals:
            raise refusals.pop()

    retry_while_open(change)
    assert refusals == []


def test_a_change_that_stays_refused_raises_after_its_time() -> None:
    def change() -> None:
        raise PermissionError

    began = time.monotonic()
    with pytest.raises(PermissionError):
        retry_while_open(change, seconds=0.05)
    assert time.monotonic() - began >= 0.05


def test_a_hook_runs_in_the_child() -> None:
    seen = threading.Event()
    at_fork(after_in_child=seen.set)
    child = fork()
    if child == 0:
        os._exit(0 if seen.is_set() else 1)
    assert exit_code(child) == 0
    assert not seen.is_set()


def test_a_fork_waits_for_the_imports_of_other_threads() -> None:
    begun, order = threading.Event(), list[str]()

    def import_slowly() -> None:
        with forks.holding_forks():
            begun.set()
            time.sleep(0.05)
            order.append("imported")

    importing = threading.Thread(target=import_slowly)
    importing.start()
    begun.wait()
    child = fork()
    if child == 0:
        with forks.holding_forks():
            os._exit(0 if order == ["imported"] else 1)
    importing.join()
    assert exit_code(child) == 0


def test_a_fork_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "PATIENCE", 0.01)
    begun, forked = threading.Event(), threading.Event()

    def import_for_ever() -> None:
        with forks.holding_forks():
            begun.set()
            forked.wait()

    importing = threading.Thread(target=import_for_ever)
    importing.start()
    begun.wait()
    child = fork()
    if child == 0:
        with forks.holding_forks():
            os._exit(0)
    forked.set()
    importing.join()
    assert exit_code(child) == 0
    with forks.holding_forks():
        pass


def test_hooks_are_left_out_where_processes_cannot_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    at_fork(before=lambda: sys.exit("called"))
