"""Many runs in one request, without what it costs LangSmith's client to write that request.

What is said of each run, how it is masked, where it goes and how often it is tried are the client's own doing. Only
the multipart body is put together here: the client's library does it field by field, which takes 100 µs a run and
keeps every other thread waiting meanwhile. And where masking fails at a run, that is sent without what was to be
masked; the client would send none of the request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from langsmith import Client, utils

from langsmith_realtime.delivery.langsmith_client.masking import tell_of_failed_masking, unmasking, without_payload
from langsmith_realtime.runtime.guard import ANYTHING
from langsmith_realtime.runtime.threads import Pauses

try:
    from langsmith._internal._constants import _BOUNDARY
    from langsmith._internal._multipart import MultipartPartsAndContext
    from langsmith._internal._operations import (
        SerializedRunOperation,
        serialize_run_dict,
    )
except ImportError:  # pragma: no cover - a version that does it in another way
    _BOUNDARY = ""

#: What of a run is a part of its own, in the client's order, and what else it is made of.
_FIELDS = ("inputs", "outputs", "events", "extra", "error", "serialized")
_OTHERS = ("operation", "id", "trace_id", "_none", "attachments")
#: What stands before a part: the end of the one before, its name, and how long it is.
_HEAD = (
    f"\r\n--{_BOUNDARY}\r\n"
    'Content-Disposition: form-data; name="%b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n'
).encode()
_OF_THE_CLIENT = ("_run_transform", "_insert_runtime_env", "_send_multipart_req", "_omit_traced_runtime_info")


def multipart_ingest(
    client: Client, create: Sequence[dict[str, Any]], update: Sequence[dict[str, Any]], given: Collection[str] = ()
) -> None:
    """:meth:`langsmith.Client.multipart_ingest`, faster where nothing stands against it.

    Args:
        client: masks and sends.
        create: runs that are new.
        update: runs that are there.
        given: the names of metadata that are the application's.
    """
    if not all(hasattr(client, name) for name in _OF_THE_CLIENT):  # pragma: no cover - as above
        client.multipart_ingest(create=create, update=update, dangerously_allow_filesystem=True)
        return
    breath = Pauses()
    posts = [_masked(client, row, given) for row in _breathing(create, breath)]
    patches = [_masked(client, row, given, update=True) for row in _breathing(update, breath)]
    if _is_simple(client, posts, patches):
        try:
            client._send_multipart_req(_request(posts, patches, breath))  # noqa: SLF001
            return
        except utils.LangSmithNotFoundError:
            pass  # an old server: the client knows what it takes instead
    unmasking(client).multipart_ingest(create=posts, update=patches, dangerously_allow_filesystem=True)


def _masked(client: Client, row: dict[str, Any], given: Collection[str], *, update: bool = False) -> dict[str, Any]:
    written = {**row, "extra": {**row["extra"], "metadata": dict(row["extra"]["metadata"])}}
    try:
        written = client._run_transform(written, update=update)  # noqa: SLF001
        client._insert_runtime_env([written])  # noqa: SLF001
    except ANYTHING as error:
        written = unmasking(client)._run_transform(without_payload(client, row, given), update=update)  # noqa: SLF001
        tell_of_failed_masking(client, error)
    return written


def _is_simple(client: Client, create: Sequence[dict[str, Any]], update: Sequence[dict[str, Any]]) -> bool:
    rows = [*create, *update]
    return bool(
        _BOUNDARY
        and {*_FIELDS, *_OTHERS} == {*SerializedRunOperation.__slots__}
        and not getattr(client, "_multipart_disabled", False)
        and not any(row.get("attachments") for row in rows)
        and len({row["id"] for row in rows}) == len(rows)  # else the client makes one run of two rows
    )


def _breathing(rows: Sequence[dict[str, Any]], breath: Pauses) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield row
        breath.take()


def _request(posts: list[dict[str, Any]], patches: list[dict[str, Any]], breath: Pauses) -> MultipartPartsAndContext:
    parts: list[tuple[str, bytes]] = []
    for operation, rows in (("post", posts), ("patch", patches)):
        for row in _breathing(rows, breath):
            parts += _parts(serialize_run_dict(operation, dict(row)))  # type: ignore[arg-type]
    context = f"trace={posts[0]['trace_id'] if posts else patches[0]['trace_id']}, {len(posts) + len(patches)} runs"
    return MultipartPartsAndContext([_as_one(parts)], context)


def _parts(run: SerializedRunOperation) -> Iterator[tuple[str, bytes]]:
    """The names and contents of a run's parts."""
    name = f"{run.operation}.{run.id}"
    yield name, run._none  # noqa: SLF001
    for field in _FIELDS:
        content = getattr(run, field)
        if content is not None:
            yield f"{name}.{field}", content


def _as_one(parts: list[tuple[str, bytes]]) -> Any:
    """All parts as the first, whose content goes on into the others: the body is the same, byte for byte."""
    (name, data), *others = parts
    written = [data]
    for other, content in others:
        written.append(_HEAD % (other.encode(), len(content)))
        written.append(content)
    return name, (None, b"".join(written), "application/json", {"Content-Length": str(len(data))})
