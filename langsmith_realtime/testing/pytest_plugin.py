"""A pytest fixture that starts servers for tests of voice agents. Add to ``conftest.py``:

pytest_plugins = ["langsmith_realtime.testing.pytest_plugin"]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeAlias

import pytest

from langsmith_realtime.testing.server import RealtimeServer

StartServer: TypeAlias = Callable[..., RealtimeServer]
"""A function with the parameters of `RealtimeServer` that returns a started server."""


@pytest.fixture
def realtime_server() -> Iterator[StartServer]:
    """Return a function that starts servers: ``server = realtime_server(script, strict=True)``.

    The servers stop at the end of the test. If a server raises an error when it stops (a strict server raises
    WrongFramesError), pytest reports an error of the test's teardown.
    """
    with ExitStack() as servers:

        def start(*arguments: Any, **options: Any) -> RealtimeServer:
            return servers.enter_context(RealtimeServer(*arguments, **options))

        yield start
