"""``langsmith_realtime.show``: a conversation in a notebook."""

from __future__ import annotations

import html
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen
from uuid import UUID

from langsmith_realtime.cli.fetching import conversations_in, fetch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langsmith import Client


class Shown:
    """A conversation as one HTML page without script. A notebook shows it inline.

    The page is in the notebook's file, so it needs no server: it is there when the notebook is opened again, and when
    nbconvert makes HTML of it. A viewer that takes frames out, or shows text alone, has `summary` in its place.

    Attributes:
        page: The HTML text.
        summary: When the conversation began, and what went wrong, as plain text.
    """

    def __init__(self, page: str, summary: str = "A conversation.") -> None:
        self.page = page
        self.summary = summary

    def save(self, path: str | Path) -> None:
        """Write the page to a file."""
        Path(path).write_text(self.page, encoding="utf-8")

    def __repr__(self) -> str:
        return self.summary

    def _repr_html_(self) -> str:
        # A frame without any right, so that the page's style and what was said stay inside it. Its content is for
        # viewers that take frames out: JupyterLab does so while a notebook is not trusted.
        style = "width:100%;height:720px;border:1px solid #8884;border-radius:6px"
        hint = "To see the page, trust this notebook, or open the file that save() writes."
        return (
            f'<iframe sandbox title="Conversation" style="{style}" srcdoc="{html.escape(self.page)}">'
            f"{html.escape(self.summary)} {hint}</iframe>"
        )


def show(trace: str | UUID, *, client: Client | None = None, project: str | None = None, sound: bool = False) -> Shown:
    """Return a conversation for a notebook to show: what went wrong, the waveforms, the transcript, the latencies.

    Args:
        trace: The id of a trace, or its address in LangSmith.
        client: Reads from LangSmith; by default one with LangSmith's settings.
        project: The project in which the id is searched; by default the one in LangSmith's settings.
        sound: Whether the page can play the recording. It then has up to 20 MB.

    Raises:
        FetchError: The trace was not found, or LangSmith refuses.
        TypeError: ``trace`` is neither a str nor a UUID.
        ValueError: The trace has no conversation.
        ModuleNotFoundError: The ``collector`` extra is not installed.
    """
    from langsmith import Client  # noqa: PLC0415
    from langsmith.utils import get_tracer_project  # noqa: PLC0415

    try:
        from langsmith_realtime.collector import Collector  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("langsmith_realtime"):
            raise
        remedy = "install it with: pip install 'langsmith-realtime[collector]'"
        raise ModuleNotFoundError(f"show() needs {error.name}; {remedy}", name=error.name) from None
    if not isinstance(trace, (str, UUID)):
        raise TypeError(f"trace must be an id or an address (str or UUID), got {type(trace).__name__}")
    reader = client or Client(auto_batch_tracing=False)
    (runs, files), *_ = fetch(reader, str(trace), project or get_tracer_project() or "default")
    shown = next(conversations_in(runs), None)
    if shown is None:
        raise ValueError(f"{trace} must be a conversation that this package traced, got a trace of {len(runs)} runs")
    with Collector() as collector:
        collector.add(runs, files)
        address = f"{collector.url}/view/api/conversations/{shown}"
        with urlopen(f"{address}/download.html{'?sound=1' * sound}") as answer:  # noqa: S310 - the collector's own
            page = answer.read().decode()
        with urlopen(address) as answer:  # noqa: S310
            return Shown(page, _summary(json.load(answer)))


def _summary(shape: Mapping[str, Any]) -> str:
    started = datetime.fromtimestamp(shape["start"], UTC)
    sentences = ["".join(piece["text"] for piece in finding) for finding in shape["findings"]]
    return " ".join([f"Conversation of {started:%a %d %b %Y %H:%M:%S} UTC.", *sentences])
