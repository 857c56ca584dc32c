"""A pytest fixture for tests of voice agents. In ``conftest.py``:

pytest_plugins = ["langsmith_realtime.testing.pytest_plugin"]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeAlias

import pytest

from langsmith_realtime.testing.server import RealtimeServer

StartServer: TypeAlias = Callable[..., RealtimeServer]
"""Takes what `RealtimeServer` takes, and starts it."""


@pytest.fixture
def realtime_server() -> Iterator[StartServer]:
    """Starts servers that stop with the test: ``server = realtime_server(script, strict=True)``.

    What a server raises when it stops, a strict one's complaints say, is an error of the test's teardown.
    """
    with ExitStack() as running:

        def start(*arguments: Any, **options: Any) -> RealtimeServer:
            return running.enter_context(RealtimeServer(*arguments, **options))

        yield start
