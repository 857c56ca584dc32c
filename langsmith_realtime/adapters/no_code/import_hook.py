"""Traces every realtime connection of a process, from the moment when the application imports openai's realtime module.

Imports nothing of openai, langsmith or the Agents SDK itself: a process that never uses them must not pay for them.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

#: The environment variable that switches this on, for the process and its children.
VARIABLE = "LANGSMITH_REALTIME_AUTO"
_ON = frozenset({"1", "true", "yes", "on"})
#: Who asks for tracing without code: that variable, or the instrumentor of OpenTelemetry.
ENVIRONMENT, OPENTELEMETRY = "environment", "opentelemetry"
#: Those that have asked.
_asking: set[str] = set()
_logger = logging.getLogger("langsmith_realtime")


def is_on() -> bool:
    """Whether the environment asks for tracing without code."""
    return os.environ.get(VARIABLE, "").strip().lower() in _ON


def install(asker: str = ENVIRONMENT) -> None:
    """Patch the modules below when they are imported, or at once if they are. Calling it again does nothing more."""
    _asking.add(asker)
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    finder = _Finder({"openai.resources.realtime.realtime": _trace_clients, "agents.realtime.session": _trace_sessions})
    sys.meta_path.insert(0, finder)
    for name in list(finder.waiting):
        module = sys.modules.get(name)
        if module is not None and not getattr(module.__spec__, "_initializing", False):
            finder.patch(module)


def uninstall(asker: str) -> None:
    """Take back :func:`install`. What is patched already stays patched, and traces nothing if nobody asks for it."""
    _asking.discard(asker)
    if not _asking:
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]


def automatic_options() -> dict[str, Any] | None:
    """The options of a connection or session that the application does not wrap; None if it is not traced.

    OpenTelemetry's instrumentor asks for OpenTelemetry alone: it never switches LangSmith on.
    """
    if ENVIRONMENT in _asking:
        return {}
    return {"langsmith": False} if OPENTELEMETRY in _asking else None


def _trace_clients(realtime: ModuleType) -> None:
    importlib.import_module("langsmith_realtime.adapters.connection_managers").patch(realtime)
    if "langsmith_realtime.adapters.openai_client" not in sys.modules:
        # Now, and not when the first connection is opened. If the application imports that module, it may be half done.
        importlib.import_module("langsmith_realtime.adapters.wrapped_client")


def _trace_sessions(sessions: ModuleType) -> None:
    if importlib.util.find_spec("langsmith_realtime.adapters.agents_sdk") is not None:
        importlib.import_module("langsmith_realtime.adapters.no_code.agents_sessions").patch(sessions.RealtimeSession)


class _Finder(MetaPathFinder):
    """Finds modules as the other finders do, and has those that are waited for patched after they have run."""

    def __init__(self, waiting: Mapping[str, Callable[[ModuleType], None]]) -> None:
        self.waiting = dict(waiting)
        self._searching: set[str] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.waiting or name in self._searching:
            return None
        self._searching.add(name)  # the other finders of sys.meta_path may ask again, through this one
        try:
            for finder in sys.meta_path:
                find = None if finder is self else getattr(finder, "find_spec", None)
                spec: ModuleSpec | None = None if find is None else find(name, path, target)
                if spec is not None:
                    if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                        spec.loader = _PatchingLoader(spec.loader, self)
                    return spec
        finally:
            self._searching.discard(name)
        return None

    def patch(self, module: ModuleType) -> None:
        """Patch a module that has run, once. A failure is logged: the application must not notice."""
        patch = self.waiting.pop(module.__name__, None)
        if patch is None:
            return
        try:
            patch(module)
        except Exception:
            _logger.warning("%s: %s cannot be traced", VARIABLE, module.__name__, exc_info=True)


class _PatchingLoader(Loader):
    """Loads a module as its own loader does, which it restores, and has the module patched then."""

    def __init__(self, loader: Any, finder: _Finder) -> None:
        self._loader = loader
        self._finder = finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._finder.patch(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
