"""Builds runs and request bodies that LangSmith's client would never send."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langsmith_realtime.collector import Collector

START = datetime(2026, 3, 14, 15, 9, 26, 535897, tzinfo=UTC)
BOUNDARY = "cut-here"
# Created once: reading the certificate store takes longer than a request.
_TLS = ssl.create_default_context()


def root(**fields: Any) -> dict[str, Any]:
    """Returns a valid root run, with some fields replaced."""
    run_id = str(uuid4())
    return {
        "id": run_id,
        "trace_id": run_id,
        "dotted_order": order(START, run_id),
        "name": "session",
        "run_type": "chain",
        "start_time": START.isoformat(),
        **fields,
    }


def child(parent: dict[str, Any], seconds: float = 1.0, **fields: Any) -> dict[str, Any]:
    """Returns a valid child run that starts `seconds` after `START`, with some fields replaced."""
    run_id = str(uuid4())
    started = START + timedelta(seconds=seconds)
    return root(
        id=run_id,
        **{
            "trace_id": parent["trace_id"],
            "parent_run_id": parent["id"],
            "dotted_order": f"{parent['dotted_order']}.{order(started, run_id)}",
            "start_time": started.isoformat(),
            **fields,
        },
    )


def update(run: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Returns an update of a run: the ids that place it in its trace, and some fields."""
    place: dict[str, Any] = {key: run[key] for key in ("id", "trace_id", "dotted_order", "parent_run_id") if key in run}
    return {**place, **fields}


def order(moment: datetime, run_id: str) -> str:
    """Returns one segment of a dotted_order."""
    return f"{moment:%Y%m%dT%H%M%S%fZ}{run_id}"


def part(name: str, content: object, **headers: str | None) -> bytes:
    """Returns one part of a multipart body. ``None`` removes a header; ``_`` stands for ``-`` in header names."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = {
        "Content-Disposition": f'form-data; name="{name}"',
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **{key.replace("_", "-"): value for key, value in headers.items()},
    }
    head = "".join(f"{key}: {value}\r\n" for key, value in lines.items() if value is not None)
    return f"--{BOUNDARY}\r\n{head}\r\n".encode() + body + b"\r\n"


def body(parts: Iterable[bytes]) -> bytes:
    """Returns a complete multipart body."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def send(collector: Collector, *parts: bytes) -> httpx.Response:
    """Posts parts to ``/runs/multipart``."""
    return send_body(collector, body(parts))


def send_body(collector: Collector, content: bytes, **headers: str) -> httpx.Response:
    """Posts a body to ``/runs/multipart``."""
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return ask(
        "POST",
        f"{collector.url}/runs/multipart",
        content=content,
        headers={"Content-Type": kind, **{key.replace("_", "-"): value for key, value in headers.items()}},
    )


def ask(method: str, url: str, **options: Any) -> httpx.Response:
    """Sends one request on a new connection."""
    return httpx.request(method, url, verify=_TLS, **options)


def create(collector: Collector, *runs: dict[str, Any]) -> None:
    """Stores runs, each in one part of a request."""
    answer = send(collector, *(part(f"post.{run['id']}", run) for run in runs))
    assert answer.status_code == 202, answer.text
