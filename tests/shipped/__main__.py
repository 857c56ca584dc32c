"""Builds the sdist and the wheel, and tries them as a user gets them: ``python -m tests.shipped``.

The wheel is installed, without extras, into an empty virtual environment, and its programs start in an empty folder:
nothing of the checkout can stand in for what the wheel lacks. The collector, mypy and pyright run in the environment
that runs this module, because a user without extras has none of them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from langsmith_realtime.collector import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
#: Each of these takes seconds; only a hang takes minutes.
TIMEOUT_S = 300


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="langsmith-realtime-shipped-") as temporary, ThreadPoolExecutor(2) as pool:
        folder = Path(temporary)
        with step("built the sdist, and the wheel from the sdist"):
            sdist, wheel = build(CHECKOUT / "dist")
        for tried in [pool.submit(try_sdist, sdist, folder), pool.submit(try_wheel, wheel, folder)]:
            tried.result()


def try_sdist(sdist: Path, folder: Path) -> None:
    with step("checked the metadata of the sdist"):
        check_metadata(sdist)
    with step("collected the tests in the sdist"):
        check_sdist(sdist, folder / "sdist")


def try_wheel(wheel: Path, folder: Path) -> None:
    with step("checked the metadata and the contents of the wheel"):
        check_metadata(wheel)
        check_contents(wheel)
    with step("installed the wheel into an empty environment"):
        python = install(wheel, folder / "environment")
    with step("held a conversation with the first lines of the README"):
        check_conversation(python, empty(folder / "conversation"))
    with step("ran the command"):
        check_command(python.with_name("langsmith-realtime"), empty(folder / "command"))
    with step("checked a user's program with mypy and pyright"):
        check_types(python, empty(folder / "types"))


def build(into: Path) -> tuple[Path, Path]:
    """Return the sdist and the wheel. The wheel is made from the sdist, which proves that the sdist is complete."""
    shutil.rmtree(into, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", into, CHECKOUT)
    (sdist,), (wheel,) = into.glob("*.tar.gz"), into.glob("*.whl")
    return sdist, wheel


def check_metadata(archive: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", archive)


def check_contents(wheel: Path) -> None:
    """The wheel has the package with its types, and nothing else."""
    names = zipfile.ZipFile(wheel).namelist()
    assert "langsmith_realtime/py.typed" in names, "type checkers ignore the package without py.typed"
    folders = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    expected = {"langsmith_realtime", "langsmith_realtime_auto.pth"}
    assert folders == expected, f"the wheel must have the package and its .pth file alone, got {sorted(folders)}"


def check_sdist(sdist: Path, into: Path) -> None:
    """The sdist has every file of the repository, and pytest finds the tests in it."""
    with tarfile.open(sdist) as archive:
        archive.extractall(into, filter="data")
    (unpacked,) = into.iterdir()
    if (CHECKOUT / ".git").exists():
        # Less what is removed in the work tree and not yet committed, which git still lists.
        tracked = [name for name in run("git", "ls-files", cwd=CHECKOUT).splitlines() if (CHECKOUT / name).exists()]
        missing = [name for name in tracked if not (unpacked / name).exists()]
        assert not missing, (
            f"the sdist must have every tracked file; got none of {missing}; see hatch's settings in pyproject.toml"
        )
    collected = run(sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", cwd=unpacked)
    print("        ", collected.strip().splitlines()[-1])


def install(wheel: Path, into: Path) -> Path:
    """Return the Python of a new virtual environment that has the wheel, without extras, and what it depends on."""
    run(sys.executable, "-m", "venv", into)
    python = into / "bin" / "python"
    # What is never imported needs no compiling, which is half of what pip would do.
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", wheel)
    run(python, "-m", "pip", "check", "--disable-pip-version-check")
    return python


def check_conversation(python: Path, folder: Path) -> None:
    """The README's first lines trace a conversation with the bundled server; an ordinary exit delivers the trace."""
    with Collector() as collector:
        settings = {
            "LANGSMITH_ENDPOINT": collector.url,
            "LANGSMITH_API_KEY": "local",
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_REALTIME_DIR": str(folder / "state"),
        }
        run(python, HERE / "conversation.py", CHECKOUT / "README.md", cwd=folder, settings=settings)
        assert collector.violations == [], collector.violations
        (root,) = collector.roots()
        names = [run.name for run in collector.runs()]
        _, recording = collector.attachment(str(root.id), "conversation")
        size = recording.stat().st_size
    print(f"         {len(names)} runs, {size:,} bytes of recording")
    assert root.error is None, root.error
    assert {"session.created", "response.created", "model", "response.done"} <= set(names)
    assert size > 44, "the recording must have sound behind its header"


def check_command(command: Path, folder: Path) -> None:
    """The installed command explains itself, and names the extra that a subcommand needs."""
    assert "recover" in run(command, "--help", cwd=folder)
    refusal = run(command, "collector", cwd=folder, expected_status=1)
    assert "pip install 'langsmith-realtime[collector]'" in refusal, refusal


def check_types(python: Path, folder: Path) -> None:
    """Strict type checkers take a user's program, which says which types it expects and what must be refused."""
    program = shutil.copy(HERE / "typed.py", folder)
    strict = {"typeCheckingMode": "strict", "reportUnnecessaryTypeIgnoreComment": "error"}
    (folder / "pyrightconfig.json").write_text(json.dumps(strict))
    run(sys.executable, "-m", "mypy", "--strict", "--python-executable", python, program, cwd=folder)
    quiet = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}  # without it, pyright asks the package index for a newer version
    run(sys.executable, "-m", "pyright", "--pythonpath", python, program, cwd=folder, settings=quiet)


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print what was done, and how long it took. Steps run beside each other, so each prints one line at its end."""
    started = time.monotonic()
    yield
    print(f"{time.monotonic() - started:5.1f} s  {what}", flush=True)


def run(
    *command: str | Path, cwd: Path | None = None, settings: dict[str, str] | None = None, expected_status: int = 0
) -> str:
    """Return what a command printed, on both outputs; fail with it where the exit status is another."""
    done = subprocess.run(
        command,
        check=False,
        cwd=cwd,
        env=environment() | (settings or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
    )
    if done.returncode != expected_status:
        sys.exit(f"{done.stdout}\n{' '.join(map(str, command))} ended with exit status {done.returncode}")
    return done.stdout


def environment() -> dict[str, str]:
    """Return the environment less what would find the checkout, or send traces elsewhere."""
    kept_out = ("PYTHON", "LANGSMITH_", "LANGCHAIN_", "OPENAI_", "COVERAGE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(kept_out)}


if __name__ == "__main__":
    main()
