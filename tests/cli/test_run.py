"""Tracing without code: ``langsmith-realtime run``, LANGSMITH_REALTIME_AUTO, and the import hook behind both."""

from __future__ import annotations

import asyncio
import builtins
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import pytest

from langsmith_realtime.adapters.no_code import agents_sessions, import_hook
from langsmith_realtime.cli import main, run
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Close, RealtimeServer, Say, Script, Turn
from tests import ROOT
from tests.support.conversations import Node, stored_trees

#: An application without a word about tracing. It shows what was imported before its own first line.
APP = """
import os, sys
assert not {"openai", "langsmith", "agents", "numpy"} & set(sys.modules), "imported before the application did it"
from openai import OpenAI

url = os.environ["SERVER"]
client = OpenAI(api_key="test", base_url=url, websocket_base_url=url.replace("http", "ws", 1))
with client.realtime.connect(model="gpt-realtime") as connection:
    connection.response.create()
    for event in connection:
        pass
"""
WRAPPED = APP.replace(
    'model="gpt-realtime") as connection', 'model="gpt-realtime") as raw, wrap_realtime(raw) as connection'
).replace("from openai", "from langsmith_realtime import wrap_realtime\nfrom openai")
WRAPPED_CLIENT = APP.replace("with client", "client = wrap_openai_realtime(client)\nwith client").replace(
    "from openai", "from langsmith_realtime import wrap_openai_realtime\nfrom openai"
)
PARENT = "import subprocess, sys\nsys.exit(subprocess.run([sys.executable, 'app.py']).returncode)\n"


@pytest.fixture
def server() -> Iterator[RealtimeServer]:
    with RealtimeServer(Script([Turn(Say("Hello."), then=[Close(1000)])], speed=20)) as running:
        yield running


def start(
    folder: Path, tracing: Collector, server: RealtimeServer, *command: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, as a user of LangSmith and of the package in this checkout."""
    settings = {"SERVER": server.base_url, "PYTHONPATH": str(ROOT), "LANGSMITH_REALTIME_DIR": str(folder / "state")}
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | settings | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run_command(*command: str) -> list[str]:
    return [sys.executable, "-m", "langsmith_realtime.cli.main", "run", *command]


def assert_traced_once(tracing: Collector) -> None:
    (root,) = stored_trees(tracing)
    assert isinstance(root, Node)
    assert root.names().count("session.created") == 1
    assert root.names().count("response.done") == 1
    assert (root.run.error, root.metadata["closed_by"]) == (None, "server")


@pytest.mark.nocover
@pytest.mark.parametrize(
    ("app", "main_file"),
    [(APP, "app.py"), (WRAPPED, "app.py"), (WRAPPED_CLIENT, "app.py"), (APP, "parent.py")],
    ids=["no code", "beside wrap_realtime", "beside wrap_openai_realtime", "in a child process"],
)
def test_a_program_is_traced_once_by_run(
    tmp_path: Path, tracing: Collector, server: RealtimeServer, app: str, main_file: str
) -> None:
    (tmp_path / "app.py").write_text(app)
    (tmp_path / "parent.py").write_text(PARENT)
    done = start(tmp_path, tracing, server, *run_command(sys.executable, main_file))
    assert (done.returncode, done.stderr) == (0, "")
    assert_traced_once(tracing)


@pytest.mark.nocover
def test_run_passes_on_arguments_and_the_exit_status_and_runs_another_sitecustomize(
    tmp_path: Path, tracing: Collector, server: RealtimeServer
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text("import sys\nsys.ran_other = __name__, __file__\n")
    program = """if True:
        import sitecustomize, sys
        print(sys.argv[1:], sys.ran_other[0], sys.ran_other[1] == sitecustomize.__file__)
        print(any(path.endswith('bootstrap') for path in sys.path))
        sys.exit(7)
    """
    command = run_command("--", sys.executable, "-c", program, "--port", "-h")
    done = start(tmp_path, tracing, server, *command, PYTHONPATH=os.pathsep.join([str(ROOT), str(other)]))
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout.splitlines() == ["['--port', '-h'] sitecustomize True", "False"]


@pytest.mark.nocover
def test_a_python_without_the_package_runs_untraced_and_says_so(
    tmp_path: Path, tracing: Collector, server: RealtimeServer
) -> None:
    script = run.BOOTSTRAP / "sitecustomize.py"
    done = start(tmp_path, tracing, server, sys.executable, "-S", "-I", str(script))
    assert done.returncode == 0
    assert done.stderr == f"langsmith-realtime run: {sys.executable} has no langsmith_realtime, so nothing is traced\n"


def test_run_explains_a_command_that_is_not_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["run", "no-such-program-7"]) == 1
    assert "The command no-such-program-7 was not found" in capsys.readouterr().err


def test_the_bootstrap_folder_comes_first_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(os, "execve", lambda *arguments: started.append(arguments))
    monkeypatch.setenv("PYTHONPATH", "here")
    for _ in range(2):
        main.main(["run", sys.executable, "app.py", "-v"])
        program, command, environment = started.pop()
        assert (program, command) == (sys.executable, [sys.executable, "app.py", "-v"])
        assert environment["PYTHONPATH"].split(os.pathsep) == [str(run.BOOTSTRAP), "here"]
        assert environment[import_hook.VARIABLE] == "true"
        monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])


# The .pth file


PTH = ROOT / "langsmith_realtime/adapters/no_code/langsmith_realtime_auto.pth"


@pytest.mark.nocover
def test_a_program_is_traced_by_the_pth_file_and_the_variable(
    tmp_path: Path, tracing: Collector, server: RealtimeServer
) -> None:
    (tmp_path / "app.py").write_text(f"import site\nsite.addsitedir({str(ROOT)!r})\n{APP}")
    done = start(tmp_path, tracing, server, sys.executable, "app.py", LANGSMITH_REALTIME_AUTO="true")
    assert (done.returncode, done.stderr) == (0, "")
    assert_traced_once(tracing)


@pytest.mark.nocover
@pytest.mark.parametrize(("value", "is_installed"), [(" 1 ", True), ("false", False), ("", False)])
def test_the_pth_file_installs_the_hook_only_if_the_variable_asks_for_it(
    tmp_path: Path, tracing: Collector, server: RealtimeServer, value: str, is_installed: bool
) -> None:
    finders = "[type(finder).__module__ for finder in sys.meta_path]"
    program = f"import site, sys\nsite.addsitedir({str(ROOT)!r})\nprint({import_hook.__name__!r} in {finders})"
    done = start(tmp_path, tracing, server, sys.executable, "-c", program, LANGSMITH_REALTIME_AUTO=value)
    assert (done.stdout.strip(), done.stderr) == (str(is_installed), "")


def test_without_the_variable_the_pth_file_imports_nothing_but_os(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = PTH.read_text().splitlines()
    assert line.startswith("import ")  # Python runs no other lines
    imported: list[str] = []
    really = builtins.__import__

    def noting(name: str, *rest: Any, **options: Any) -> Any:
        imported.append(name)
        return really(name, *rest, **options)

    monkeypatch.delenv(import_hook.VARIABLE, raising=False)
    with monkeypatch.context() as patched:
        patched.setattr(builtins, "__import__", noting)
        exec(line)
    assert imported == ["os"], "every Python process of this environment runs the line"


# The import hook


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[import_hook._Finder]:
    """A finder that waits for the module `watched`, which it is given in `sys.path`."""
    (tmp_path / "watched.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    finder = import_hook._Finder({"watched": lambda module: setattr(module, "value", module.value + 1)})
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    yield finder
    sys.modules.pop("watched", None)


def test_a_module_is_patched_once_after_it_has_run(hook: import_hook._Finder) -> None:
    assert importlib.util.find_spec("watched") is not None  # only looks
    module = importlib.import_module("watched")
    assert module.value == 2
    assert type(module.__loader__) is type(run.__loader__)
    assert module.__spec__ is not None
    assert module.__spec__.loader is module.__loader__
    assert importlib.reload(module).value == 1
    assert hook.waiting == {}


def test_the_hook_does_not_replace_what_other_finders_say(hook: import_hook._Finder) -> None:
    assert hook.find_spec("os") is None
    hook.waiting["no_such_module_7"] = lambda _: None
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module_7")


def test_a_patch_that_fails_is_logged_and_the_import_succeeds(
    hook: import_hook._Finder, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: ModuleType) -> None:
        raise KeyError("renamed")

    hook.waiting["watched"] = fail
    assert importlib.import_module("watched").value == 1
    assert "watched cannot be traced" in caplog.text


def test_modules_that_are_imported_already_are_patched_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    patched: list[str] = []
    importlib.import_module("openai.resources.realtime.realtime")
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(import_hook, "_asking", set())
    monkeypatch.setattr(import_hook, "_trace_clients", lambda module: patched.append(module.__name__))
    import_hook.install()
    import_hook.install()
    assert patched == ["openai.resources.realtime.realtime"]
    assert sum(isinstance(finder, import_hook._Finder) for finder in sys.meta_path) == 1


# Sessions of the Agents SDK


class FakeSession:
    """The methods of the Agents SDK's session that enter and close it."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def __aenter__(self) -> Self:
        self.calls.append("entered")
        return self

    async def enter(self) -> Self:
        return await self.__aenter__()

    async def close(self) -> None:
        self.calls.append("closed")

    async def __aexit__(self, *_: object) -> None:
        await self.close()


#: A wrapper as langsmith_realtime.adapters.agents_sdk has it, in a module of that name: the caller's module matters.
FAKE_WRAPPER = """
class Tracing:
    def __init__(self, session):
        self.session = session
    async def __aenter__(self):
        self.session.calls.append("traced")
        return await self.session.enter()
    async def __aexit__(self, kind, error, traceback):
        await self.session.close()
        self.session.calls.append(f"ended {error!r}")

def AutomaticTracing(session, options):
    if session.calls == ["refused"]:
        raise ValueError("no")
    return Tracing(session)

wrap_realtime_session = Tracing
"""


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> type[FakeSession]:
    """A patched class of sessions."""
    name = "langsmith_realtime.adapters.agents_sdk"
    module = ModuleType(name)
    exec(FAKE_WRAPPER, module.__dict__)
    monkeypatch.setitem(sys.modules, name, module)
    kind = type("Session", (FakeSession,), {})
    monkeypatch.setattr(import_hook, "_asking", {import_hook.ENVIRONMENT})
    agents_sessions.patch(kind)
    return kind


def test_a_session_is_traced_from_its_block_or_from_enter_to_close(sessions: type[FakeSession]) -> None:
    async def use() -> None:
        session, other = sessions(), sessions()
        with pytest.raises(KeyError):
            async with session as entered:
                assert entered is session
                raise KeyError("city")
        assert session.calls == ["traced", "entered", "closed", "ended KeyError('city')"]
        await other.enter()
        await other.close()
        await other.close()
        assert other.calls == ["traced", "entered", "closed", "ended None", "closed"]

    asyncio.run(use())


def test_a_session_that_the_application_wraps_is_traced_once(sessions: type[FakeSession]) -> None:
    async def use() -> None:
        session: Any = sessions()
        wrapper: Any = sys.modules["langsmith_realtime.adapters.agents_sdk"]
        async with wrapper.wrap_realtime_session(session):
            pass
        assert session.calls == ["traced", "entered", "closed", "ended None"]

    asyncio.run(use())


def test_a_session_that_cannot_be_traced_works_as_before(
    sessions: type[FakeSession], caplog: pytest.LogCaptureFixture
) -> None:
    async def use() -> None:
        session = sessions()
        session.calls.append("refused")
        async with session:
            pass
        assert session.calls == ["refused", "entered", "closed"]

    asyncio.run(use())
    assert "this session of the Agents SDK is not traced: ValueError: no" in caplog.text
