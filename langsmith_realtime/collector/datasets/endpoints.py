"""The endpoints about datasets and examples, which ``client.evaluate`` needs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from langsmith_realtime.collector.datasets.parts import ExampleReader
from langsmith_realtime.collector.datasets.store import Datasets
from langsmith_realtime.collector.ingest.bodies import read_parts
from langsmith_realtime.collector.not_served import not_served
from langsmith_realtime.collector.read.filters import parse_example_filter
from langsmith_realtime.collector.read.query import numbered_page, page, read_json, read_object
from langsmith_realtime.collector.rules import Refused, json_type, time, uuid_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from langsmith_realtime.collector.storage.store import Store

#: Largest size of examples in one JSON body, in bytes.
_BODY_BYTES: Final = 128 * 1024 * 1024


class DatasetEndpoints:
    """The endpoints that create, return, change and delete datasets and examples.

    Args:
        store: Holds them.
        link: Makes an attachment's URL from the request, the example's id and the attachment's name.
    """

    def __init__(self, store: Store, link: Callable[[Request, str, str], str]) -> None:
        self._store = store
        self._datasets = Datasets(store)
        self._link = link

    # --- datasets

    async def listed(self, request: Request) -> Response:
        """``GET /datasets``: a page of datasets, newest first."""
        return JSONResponse(numbered_page(request, self._found(request)))

    async def v2_listed(self, request: Request) -> Response:
        """``GET /api/v2/datasets``: a page of datasets with a cursor, newest first."""
        params = request.query_params
        found = self._found(request)
        items, cursor = page(found, params.get("page_size"), params.get("cursor"), largest=100, default=100)
        return JSONResponse({"items": items, "next_cursor": cursor})

    async def one(self, request: Request) -> Response:
        """``GET /datasets/{dataset_id}``."""
        return JSONResponse(self._datasets.one(request.path_params["dataset_id"]))

    async def create(self, request: Request) -> Response:
        """``POST /datasets``: 409 if a dataset has the name."""
        return JSONResponse(self._datasets.create(await read_object(request)))

    async def change(self, request: Request) -> Response:
        """``PATCH /datasets/{dataset_id}``."""
        return JSONResponse(self._datasets.change(request.path_params["dataset_id"], await read_object(request)))

    async def delete(self, request: Request) -> Response:
        """``DELETE /datasets/{dataset_id}``: deletes its examples, too."""
        self._datasets.delete(request.path_params["dataset_id"])
        return JSONResponse({})

    async def splits(self, request: Request) -> Response:
        """``GET /datasets/{dataset_id}/splits``: the names of the splits that its examples are in."""
        examples = self._datasets.examples(self._datasets.one(request.path_params["dataset_id"])["id"])
        return JSONResponse(sorted({split for each in examples for split in each["metadata"]["dataset_split"]}))

    # --- examples

    async def examples(self, request: Request) -> Response:
        """``GET /examples``: a page of examples, the first created first."""
        params = request.query_params
        dataset = self._datasets.one(params["dataset"]) if params.get("dataset") else None
        stored = self._datasets.examples(None if dataset is None else dataset["id"])
        if params.get("as_of", "latest") != "latest":
            moment = _as_of(params["as_of"])
            stored = [each for each in stored if moment is not None and time(each["added_at"], "added_at") <= moment]
            if moment is None or any(time(each["modified_at"], "modified_at") > moment for each in stored):
                return not_served("The collector has only the latest version of each example; leave out as_of")
        ids = {each.lower() for each in params.getlist("id")}
        splits = set(params.getlist("splits"))
        metadata = _metadata(params.get("metadata"))
        holds = parse_example_filter(params["filter"]) if params.get("filter") else lambda _: True
        found = [
            each
            for each in stored
            if (not ids or each["id"] in ids)
            and (not splits or splits & set(each["metadata"]["dataset_split"]))
            and all(each["metadata"].get(key) == value for key, value in metadata.items())
            and holds(each)
        ]
        with_files = "attachment_urls" in params.getlist("select")
        shown = numbered_page(request, found)
        return JSONResponse([self._view(request, each, with_files=with_files) for each in shown])

    async def example(self, request: Request) -> Response:
        """``GET /examples/{example_id}``."""
        example = self._datasets.example(request.path_params["example_id"])
        return JSONResponse(self._view(request, example, with_files=True))

    async def create_example(self, request: Request) -> Response:
        """``POST /examples``: one example, without attachments of its own."""
        body = await read_json(request, _BODY_BYTES)
        return JSONResponse(self._created(body))

    async def create_examples(self, request: Request) -> Response:
        """``POST /examples/bulk``: an array of examples, without attachments of their own."""
        body = await read_json(request, _BODY_BYTES)
        if not isinstance(body, list):
            raise Refused("query", f"the body must be an array of examples, got {json_type(body)}")
        return JSONResponse([self._created(each) for each in body])

    async def change_example(self, request: Request) -> Response:
        """``PATCH /examples/{example_id}``."""
        body = await read_json(request, _BODY_BYTES)
        if not isinstance(body, dict):
            raise Refused("query", f"the body must be a JSON object, got {json_type(body)}")
        return JSONResponse(_shown(self._datasets.change_example(request.path_params["example_id"], body)))

    async def delete_example(self, request: Request) -> Response:
        """``DELETE /examples/{example_id}``."""
        self._datasets.delete_example(request.path_params["example_id"])
        return JSONResponse({})

    async def delete_examples(self, request: Request) -> Response:
        """``DELETE /examples?example_ids=…``, or ``POST /platform/datasets/examples/delete`` with ``example_ids``."""
        ids = request.query_params.getlist("example_ids")
        if request.method == "POST":
            ids = (await read_object(request)).get("example_ids") or []
        for example_id in {self._datasets.example(str(each))["id"] for each in ids}:
            self._datasets.delete_example(example_id)
        return JSONResponse({"deleted_count": len(ids), "count": len(ids), "example_ids": ids})

    async def upload(self, request: Request) -> Response:
        """``POST`` or ``PATCH /platform/datasets/{dataset_id}/examples``: examples with attachments, in parts."""
        dataset_id = self._datasets.one(request.path_params["dataset_id"])["id"]
        reader = ExampleReader(self._store.incoming)
        try:
            await read_parts(request, reader)
            ids = await run_in_threadpool(self._write, dataset_id, reader, creates=request.method == "POST")
        finally:
            reader.discard()
        return JSONResponse({"count": len(ids), "example_ids": ids, "as_of": datetime.now(UTC).isoformat()}, 201)

    def _write(self, dataset_id: str, reader: ExampleReader, *, creates: bool) -> list[str]:
        for example_id, parts in reader.examples.items():
            if creates:
                body = {**parts.fields, "id": example_id}
                self._datasets.create_example(dataset_id, body, parts.attachments)
            else:
                self._datasets.change_example(example_id, parts.fields, parts.attachments)
        return list(reader.examples)

    def _created(self, body: object) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise Refused("query", f"an example must be a JSON object, got {json_type(body)}")
        return _shown(self._datasets.create_example(uuid_text(body.get("dataset_id"), "dataset_id"), body))

    def _found(self, request: Request) -> list[dict[str, Any]]:
        params = request.query_params
        ids = {each.lower() for each in params.getlist("id")}
        metadata = _metadata(params.get("metadata"))
        return [
            each
            for each in self._datasets.all()
            if (not ids or each["id"] in ids)
            and params.get("name") in (None, each["name"])
            and params.get("name_contains", "").lower() in each["name"].lower()
            and params.get("data_type") in (None, each["data_type"])
            and all(_metadata_of(each).get(key) == value for key, value in metadata.items())
        ]

    def _view(self, request: Request, example: dict[str, Any], *, with_files: bool) -> dict[str, Any]:
        if not with_files:
            return _shown(example)
        urls = {
            f"attachment.{name}": {
                "presigned_url": self._link(request, example["id"], name),
                "mime_type": attachment.mime_type,
            }
            for name, attachment in self._store.attachments(example["id"]).items()
        }
        return {**_shown(example), "attachment_urls": urls}


def _shown(example: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in example.items() if key != "added_at"}  # which only as_of needs


def _as_of(text: str) -> datetime | None:
    """Return the time of a dataset's version; None for a tag of a version."""
    try:
        return time(text, "as_of")
    except Refused:
        return None


def _metadata(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Refused("query", f"metadata must be a JSON object, got {text!r}")
    return value


def _metadata_of(dataset: dict[str, Any]) -> dict[str, Any]:
    found = dataset.get("metadata") or (dataset.get("extra") or {}).get("metadata")
    return found if isinstance(found, dict) else {}
