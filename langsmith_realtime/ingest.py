"""Many runs in one request, without what it costs LangSmith's client to write that request.

What is said of each run, how it is masked, where it goes and how often it is tried are the client's own doing. Only
the multipart body is put together here: the client's library does it field by field, which takes 100 µs a run and
keeps every other thread waiting meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langsmith import Client, utils

try:
    from langsmith._internal._constants import _BOUNDARY
    from langsmith._internal._multipart import MultipartPartsAndContext
    from langsmith._internal._operations import (
        serialize_run_dict,
        serialized_run_operation_to_multipart_parts_and_context,
    )
except ImportError:  # pragma: no cover - a version that does it in another way
    _BOUNDARY = ""

_OF_THE_CLIENT = ("_run_transform", "_insert_runtime_env", "_send_multipart_req")


def multipart_ingest(client: Client, create: Sequence[dict[str, Any]], update: Sequence[dict[str, Any]]) -> None:
    """:meth:`langsmith.Client.multipart_ingest`, faster where nothing stands against it.

    Raises:
        Exception: what the user masks runs with failed.
    """
    if _is_simple(client, create, update):
        posts = [client._run_transform(dict(row)) for row in create]  # noqa: SLF001
        patches = [client._run_transform(dict(row), update=True) for row in update]  # noqa: SLF001
        try:
            client._send_multipart_req(_request(client, posts, patches))  # noqa: SLF001
            return
        except utils.LangSmithNotFoundError:
            pass  # an old server: the client knows what it takes instead
    client.multipart_ingest(create=create, update=update, dangerously_allow_filesystem=True)


def _is_simple(client: Client, create: Sequence[dict[str, Any]], update: Sequence[dict[str, Any]]) -> bool:
    rows = [*create, *update]
    return bool(
        _BOUNDARY
        and all(hasattr(client, name) for name in _OF_THE_CLIENT)
        and not getattr(client, "_multipart_disabled", False)
        and not any(row.get("attachments") for row in rows)
        and len({row["id"] for row in rows}) == len(rows)  # else the client makes one run of two rows
    )


def _request(client: Client, posts: list[dict[str, Any]], patches: list[dict[str, Any]]) -> MultipartPartsAndContext:
    parts: list[Any] = []
    for operation, rows in (("post", posts), ("patch", patches)):
        client._insert_runtime_env(rows)  # noqa: SLF001
        for row in rows:
            written = serialize_run_dict(operation, row)  # type: ignore[arg-type]
            parts += serialized_run_operation_to_multipart_parts_and_context(written)[0].parts
    context = f"trace={posts[0]['trace_id'] if posts else patches[0]['trace_id']}, {len(posts) + len(patches)} runs"
    return MultipartPartsAndContext([_as_one(parts)], context)


def _as_one(parts: list[Any]) -> Any:
    """All parts as the first, whose content goes on into the others: the body is the same, byte for byte."""
    (name, (filename, data, content_type, headers)), *others = parts
    return name, (filename, b"".join([data, *_written(others)]), content_type, headers)


def _written(parts: Iterable[Any]) -> Iterable[bytes]:
    for name, (_, data, content_type, headers) in parts:
        lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        head = f'\r\n--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\nContent-Type: {content_type}\r\n'
        yield f"{head}{lines}\r\n".encode()
        yield data
