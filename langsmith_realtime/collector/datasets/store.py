"""Datasets and examples as a store's documents."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from starlette.exceptions import HTTPException

from langsmith_realtime.collector.rules import ATTACHMENT_NAME, Refused, conflicting_name, json_type, time, uuid_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langsmith_realtime.collector.records import Attachment
    from langsmith_realtime.collector.storage.store import Store

_DATASET_FIELDS: Final = (
    *("name", "description", "data_type", "extra", "metadata"),
    *("inputs_schema_definition", "outputs_schema_definition"),
)
_EXAMPLE_OBJECTS: Final = ("inputs", "outputs", "metadata")
#: The split of an example that names none.
_SPLIT: Final = "base"


class Datasets:
    """Creates, changes and deletes datasets and examples.

    Args:
        store: Holds them, and the runs that examples are made from.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._documents = store.documents

    # Datasets

    def all(self) -> list[dict[str, Any]]:
        """Return the datasets, the newest first."""
        return [self._counted(each) for each in reversed(self._documents.all("dataset").values())]

    def one(self, dataset_id: str) -> dict[str, Any]:
        """Return a dataset. Raises HTTPException 404 without one."""
        return self._counted(self._dataset(dataset_id))

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create a dataset from a request's body. Raises Refused if it has no name, or the name of another dataset."""
        name = body.get("name")
        if not isinstance(name, str) or not name:
            raise Refused("query", f"name must be a non-empty string, got {name!r}")
        if any(each["name"] == name for each in self._documents.all("dataset").values()):
            raise conflicting_name("dataset", name)
        dataset_id = uuid_text(body["id"], "id") if body.get("id") else str(uuid4())
        now = _now()
        given = {key: body[key] for key in _DATASET_FIELDS if body.get(key) is not None}
        dataset = {"data_type": "kv", **given, "id": dataset_id, "created_at": now, "modified_at": now}
        self._documents.put("dataset", dataset_id, dataset)
        return self._counted(dataset)

    def change(self, dataset_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change the fields of a dataset that a request's body has."""
        given = {key: body[key] for key in _DATASET_FIELDS if body.get(key) is not None}
        changed = {**self._dataset(dataset_id), **given, "modified_at": _now()}
        self._documents.put("dataset", changed["id"], changed)
        return self._counted(changed)

    def delete(self, dataset_id: str) -> None:
        """Delete a dataset with its examples."""
        dataset = self._dataset(dataset_id)
        for example_id in self._documents.all("example", dataset["id"]):
            self.delete_example(example_id)
        self._documents.delete("dataset", dataset["id"])

    # Examples

    def examples(self, dataset_id: str | None) -> list[dict[str, Any]]:
        """Return the examples of a dataset, or of all for None, the first created first."""
        return list(self._documents.all("example", dataset_id).values())

    def example(self, example_id: str) -> dict[str, Any]:
        """Return an example. Raises HTTPException 404 without one."""
        found = self._documents.get("example", example_id.lower())
        if found is None:
            raise HTTPException(404, f"Example not found: {example_id}")
        return found

    def create_example(
        self, dataset_id: str, body: Mapping[str, Any], files: Mapping[str, Attachment] | None = None
    ) -> dict[str, Any]:
        """Create an example.

        Args:
            dataset_id: The id of its dataset.
            body: Its fields. With ``use_source_run_io`` the inputs and outputs are those of ``source_run_id``;
                ``use_source_run_attachments`` names attachments of that run that the example gets, too.
            files: Its attachments by name. The store takes the files over.

        Raises:
            Refused: A field is of the wrong type, or an example has this id.
            HTTPException: 404, the dataset or the run does not exist, or the run has no such attachment.
        """
        dataset = self._dataset(dataset_id)
        example_id = uuid_text(body["id"], "id") if body.get("id") else str(uuid4())
        if self._documents.get("example", example_id) is not None:
            raise conflicting_name("example", example_id)
        fields = _fields(body)
        source = self._source(body)
        if source is not None and body.get("use_source_run_io"):
            fields = {**fields, "inputs": source.inputs, "outputs": source.outputs}
        copied = _names(body.get("use_source_run_attachments") or [])
        if copied and source is None:
            raise Refused("query", "use_source_run_attachments needs a source_run_id, got none")
        for name in copied:
            if source is not None and name not in source.attachments:
                raise HTTPException(404, f"Attachment not found: run {source.id} has no attachment {name!r}")
        metadata = fields.get("metadata") or {}
        splits = _splits(body.get("split")) or _splits(metadata.get("dataset_split")) or [_SPLIT]
        now = _now()
        created = body.get("created_at")
        example = {
            "id": example_id,
            "dataset_id": dataset["id"],
            "inputs": fields.get("inputs") or {},
            "outputs": fields.get("outputs"),
            "metadata": {**metadata, "dataset_split": splits},
            "created_at": now if created is None else time(created, "created_at").isoformat(),
            "modified_at": now,
            "added_at": now,  # created_at is the client's
            "source_run_id": None if source is None else source.id,
        }
        self._documents.put("example", example_id, example, dataset["id"])
        for name in copied if source is not None else ():
            attachment = source.attachments[name]
            self._store.take(example_id, name, attachment.mime_type, attachment.path, copy=True)
        self._take(example_id, files)
        self._touch(dataset)
        return example

    def change_example(
        self, example_id: str, body: Mapping[str, Any], files: Mapping[str, Attachment] | None = None
    ) -> dict[str, Any]:
        """Change the fields of an example that a body has; null leaves a field as it is.

        ``attachments_operations`` keeps (``retain``) and renames (``rename``) attachments, and drops all others.
        """
        example = self.example(example_id)
        fields = _fields(body)
        metadata = fields.get("metadata", example["metadata"])
        splits = _splits(body.get("split")) or _splits(metadata.get("dataset_split"))
        fields["metadata"] = {**metadata, "dataset_split": splits or example["metadata"]["dataset_split"]}
        changed = {**example, **fields, "modified_at": _now()}
        self._operate(example["id"], body.get("attachments_operations"))
        self._documents.put("example", example["id"], changed, example["dataset_id"])
        self._take(example["id"], files)
        self._touch(self._dataset(example["dataset_id"]))
        return changed

    def delete_example(self, example_id: str) -> None:
        """Delete an example with its attachments."""
        example = self.example(example_id)
        self._documents.delete("example", example["id"])
        self._store.drop_attachments(example["id"])

    def _take(self, example_id: str, files: Mapping[str, Attachment] | None) -> None:
        for name, attachment in (files or {}).items():
            self._store.take(example_id, name, attachment.mime_type, attachment.path)

    def _operate(self, example_id: str, operations: object) -> None:
        if operations is None:
            return
        given = operations if isinstance(operations, dict) else {"retain": operations}
        retain, rename = _names(given.get("retain") or []), given.get("rename") or {}
        if not isinstance(rename, dict):
            raise Refused("query", f"rename must be an object of attachments' names, got {json_type(rename)}")
        for name in _names(list(rename.values())):
            if not ATTACHMENT_NAME.fullmatch(name):
                raise Refused("query", f"an attachment's name must match {ATTACHMENT_NAME.pattern}, got {name!r}")
        stored = self._store.attachments(example_id)
        self._store.drop_attachments(example_id, [name for name in stored if name not in {*retain, *rename}])
        for before, after in rename.items():
            if before in stored and before != after:
                self._store.take(example_id, after, stored[before].mime_type, stored[before].path)
                self._store.drop_attachments(example_id, [before])

    def _source(self, body: Mapping[str, Any]) -> Any:
        if body.get("source_run_id") is None:
            return None
        run = self._store.run(uuid_text(body["source_run_id"], "source_run_id"))
        if run is None:
            raise HTTPException(404, f"Run not found: {body['source_run_id']}")
        return run

    def _dataset(self, dataset_id: str) -> dict[str, Any]:
        found = self._documents.get("dataset", dataset_id.lower())
        if found is None:
            raise HTTPException(404, f"Dataset not found: {dataset_id}")
        return found

    def _touch(self, dataset: Mapping[str, Any]) -> None:
        self._documents.put("dataset", dataset["id"], {**dataset, "modified_at": _now()})

    def _counted(self, dataset: Mapping[str, Any]) -> dict[str, Any]:
        experiments = [
            each
            for each in self._documents.all("project").values()
            if each.get("reference_dataset_id") == dataset["id"]
        ]
        return {
            **dataset,
            "example_count": self._documents.count("example", dataset["id"]),
            "session_count": len(experiments),
            "last_session_start_time": max((each["start_time"] for each in experiments), default=None),
        }


def _fields(body: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: body[key] for key in _EXAMPLE_OBJECTS if body.get(key) is not None}
    for key, value in found.items():
        if not isinstance(value, dict):
            raise Refused("query", f"{key} must be an object, got {json_type(value)}")
    return found


def _names(given: object) -> list[str]:
    if isinstance(given, list) and all(isinstance(each, str) for each in given):
        return given
    raise Refused("query", f"names of attachments must be an array of strings, got {given!r}")


def _splits(given: object) -> list[str] | None:
    if given is None:
        return None
    splits = [given] if isinstance(given, str) else given
    if isinstance(splits, list) and all(isinstance(each, str) for each in splits):
        return splits
    raise Refused("query", f"split must be a string or an array of strings, got {given!r}")


def _now() -> str:
    return datetime.now(UTC).isoformat()
