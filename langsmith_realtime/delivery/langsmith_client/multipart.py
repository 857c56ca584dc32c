"""Sends many runs in one multipart request, built faster than LangSmith's client builds it.

The client still decides what each run contains, masks it, picks the endpoint and retries. Only the multipart body is
built here: the client's library encodes it field by field, which takes 100 µs a run, during which no other thread runs.
If masking a run fails, that run is sent without its payload; the client alone would send nothing of the request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from langsmith import Client, utils

from langsmith_realtime.delivery.langsmith_client.masking import unmasked_client, warn_masking_failed, without_payload
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS
from langsmith_realtime.runtime.threads import Pauses

try:
    from langsmith._internal._constants import _BOUNDARY
    from langsmith._internal._multipart import MultipartPartsAndContext
    from langsmith._internal._operations import (
        SerializedRunOperation,
        serialize_run_dict,
    )
except ImportError:  # pragma: no cover - a version with other internals
    _BOUNDARY = ""

#: Fields of a serialised run that become parts of their own, in the client's order, and its other fields.
_PART_FIELDS = ("inputs", "outputs", "events", "extra", "error", "serialized")
_OTHER_FIELDS = ("operation", "id", "trace_id", "_none", "attachments")
#: The bytes between two parts: the boundary, and the headers of the next part with its name and length.
_PART_HEAD = (
    f"\r\n--{_BOUNDARY}\r\n"
    'Content-Disposition: form-data; name="%b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n'
).encode()
#: Prefixes of environment variables. The client adds these settings of the machine (an endpoint, a folder) to metadata.
_SETTINGS = ("LANGSMITH_", "LANGCHAIN_")
#: Members of the client without which the public ``multipart_ingest`` is used.
_CLIENT_MEMBERS = ("_run_transform", "_insert_runtime_env", "_send_multipart_req", "_omit_traced_runtime_info")


def multipart_ingest(
    client: Client,
    create: Sequence[dict[str, Any]],
    update: Sequence[dict[str, Any]],
    application_keys: Collection[str] = (),
) -> None:
    """Mask and send runs in one request, as :meth:`langsmith.Client.multipart_ingest` does, but faster.

    Requests with attachments or with two operations of one run, servers without the multipart route, and versions of
    LangSmith with other internals take the client's own method.

    Args:
        client: masks and sends.
        create: new runs.
        update: updates of existing runs.
        application_keys: the metadata keys that the application set.
    """
    if not all(hasattr(client, name) for name in _CLIENT_MEMBERS):  # pragma: no cover - a version with other internals
        client.multipart_ingest(create=create, update=update, dangerously_allow_filesystem=True)
        return
    pauses = Pauses()
    posts = [_masked(client, run, application_keys) for run in _with_pauses(create, pauses)]
    patches = [_masked(client, run, application_keys, update=True) for run in _with_pauses(update, pauses)]
    if _can_build_body(client, posts, patches):
        try:
            client._send_multipart_req(_request(posts, patches, pauses))  # noqa: SLF001
            return
        except utils.LangSmithNotFoundError:
            pass  # an old server without this route: the client's own method falls back to another one
    unmasked_client(client).multipart_ingest(create=posts, update=patches, dangerously_allow_filesystem=True)


def _masked(
    client: Client, run: dict[str, Any], application_keys: Collection[str], *, update: bool = False
) -> dict[str, Any]:
    """The run as the client sends it; without its payload if the client's masking fails."""
    masked = {**run, "extra": {**run["extra"], "metadata": dict(run["extra"]["metadata"])}}
    try:
        masked = client._run_transform(masked, update=update)  # noqa: SLF001
        own = set(masked["extra"]["metadata"])
        client._insert_runtime_env([masked])  # noqa: SLF001
        metadata = masked["extra"]["metadata"]
        masked["extra"]["metadata"] = {k: v for k, v in metadata.items() if k in own or not k.startswith(_SETTINGS)}
    except CALLBACK_ERRORS as error:
        bare = without_payload(client, run, application_keys)
        masked = unmasked_client(client)._run_transform(bare, update=update)  # noqa: SLF001
        warn_masking_failed(client, error)
    return masked


def _can_build_body(client: Client, create: Sequence[dict[str, Any]], update: Sequence[dict[str, Any]]) -> bool:
    """Whether the body can be built here and equals the body that the client would build."""
    runs = [*create, *update]
    return bool(
        _BOUNDARY
        and {*_PART_FIELDS, *_OTHER_FIELDS} == {*SerializedRunOperation.__slots__}
        and not getattr(client, "_multipart_disabled", False)
        and not any(run.get("attachments") for run in runs)
        and len({run["id"] for run in runs}) == len(runs)  # the client merges a create and an update of one run
    )


def _with_pauses(runs: Sequence[dict[str, Any]], pauses: Pauses) -> Iterator[dict[str, Any]]:
    """The runs; after one, a pause of 0.1 ms if more than 2 ms passed since the last pause, for other threads."""
    for run in runs:
        yield run
        pauses.take()


def _request(posts: list[dict[str, Any]], patches: list[dict[str, Any]], pauses: Pauses) -> MultipartPartsAndContext:
    parts: list[tuple[str, bytes]] = []
    for operation, runs in (("post", posts), ("patch", patches)):
        for run in _with_pauses(runs, pauses):
            parts += _parts(serialize_run_dict(operation, dict(run)))  # type: ignore[arg-type]
    context = f"trace={posts[0]['trace_id'] if posts else patches[0]['trace_id']}, {len(posts) + len(patches)} runs"
    return MultipartPartsAndContext([_joined(parts)], context)


def _parts(run: SerializedRunOperation) -> Iterator[tuple[str, bytes]]:
    """The name and the content of each part of a run."""
    name = f"{run.operation}.{run.id}"
    yield name, run._none  # noqa: SLF001
    for field in _PART_FIELDS:
        content = getattr(run, field)
        if content is not None:
            yield f"{name}.{field}", content


def _joined(parts: list[tuple[str, bytes]]) -> Any:
    """All parts as one part: the first, whose content also contains the other parts with their headers.

    The client's library then encodes a single part, and the body it makes is byte for byte that of separate parts.
    """
    (name, first), *others = parts
    body = [first]
    for other, content in others:
        body.append(_PART_HEAD % (other.encode(), len(content)))
        body.append(content)
    return name, (None, b"".join(body), "application/json", {"Content-Length": str(len(first))})
