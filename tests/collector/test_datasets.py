"""Datasets of realtime conversations, and evaluations of them, with LangSmith's client."""

from __future__ import annotations

import asyncio
import io
import wave
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from langsmith import Client
from langsmith.utils import LangSmithConflictError, LangSmithError, LangSmithNotFoundError

from langsmith_realtime.collector import Collector
from tests.support.collector_requests import BOUNDARY, ask, body, part
from tests.support.stored_conversation import Conversation, with_three_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langsmith.schemas import Dataset

pytestmark = [
    pytest.mark.newest,  # langsmith 0.8 has other names for some of these calls
    pytest.mark.filterwarnings("ignore::langsmith.utils.LangSmithWarning"),
    pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def call() -> Conversation:
    return with_three_problems()


@pytest.fixture(scope="module")
def client(call: Conversation) -> Iterator[Client]:
    with Collector() as collector:
        call.into(collector, sound=call.sound())
        client = Client(api_url=collector.url, api_key="local")
        yield client
        client.cleanup(timeout=5)


@pytest.fixture(scope="module")
def calls(client: Client, call: Conversation) -> Dataset:
    """A dataset with the conversation itself, and with a clip of somebody else's."""
    dataset = client.create_dataset("calls", description="of the parcel desk", metadata={"team": "voice"})
    conversation = {
        "source_run_id": call.id,
        "use_source_run_io": True,
        "use_source_run_attachments": ["conversation"],
    }
    clip = {
        "inputs": {"question": "Where?"},
        "outputs": {"answer": "Here."},
        "attachments": {"clip": ("audio/wav", b"RIFF")},
        "metadata": {"city": "Oslo"},
        "split": "short",
    }
    for example in (conversation, clip):  # one request each, so that their order is known
        client.create_examples(dataset_id=dataset.id, examples=[example])
    return dataset


def test_an_example_has_the_words_and_the_sound_of_its_conversation(
    client: Client, calls: Dataset, call: Conversation
) -> None:
    spoken, clip = client.list_examples(dataset_name="calls", include_attachments=True)

    assert str(spoken.source_run_id) == call.id
    assert (spoken.outputs or {})["messages"] == call.root(ended=True)["outputs"]["messages"]
    sound = (spoken.attachments or {})["conversation"]
    assert (sound["mime_type"], sound["reader"].read()) == ("audio/wav", call.sound())
    assert (clip.inputs, clip.outputs) == ({"question": "Where?"}, {"answer": "Here."})
    assert (clip.attachments or {})["clip"]["reader"].read() == b"RIFF"
    assert client.read_dataset(dataset_id=calls.id).example_count == 2


def test_datasets_and_examples_are_found_by_their_fields(client: Client, calls: Dataset) -> None:
    assert [each.name for each in client.list_datasets(dataset_name_contains="all", metadata={"team": "voice"})] == [
        "calls"
    ]
    assert list(client.list_datasets(dataset_name="other")) == []
    with pytest.raises(LangSmithConflictError):
        client.create_dataset("calls")
    conditions: list[dict[str, Any]] = [
        {"metadata": {"city": "Oslo"}},
        {"splits": ["short"]},
        {"filter": 'and(exists(metadata, "city"), not(has(metadata, \'{"city": "Bonn"}\')))'},
    ]
    for condition in conditions:
        (found,) = client.list_examples(dataset_id=calls.id, **condition)
        assert found.inputs == {"question": "Where?"}
    assert client.list_dataset_splits(dataset_id=calls.id) == ["base", "short"]
    assert list(client.list_examples(dataset_id=calls.id, as_of=datetime(2020, 1, 1, tzinfo=UTC))) == []
    with pytest.raises(LangSmithError, match="only the latest version"):
        list(client.list_examples(dataset_id=calls.id, as_of="prod"))
    with pytest.raises(LangSmithNotFoundError, match="Attachment not found"):
        lost = {"source_run_id": next(client.list_examples(dataset_id=calls.id)).source_run_id}
        client.create_examples(dataset_id=calls.id, examples=[{**lost, "use_source_run_attachments": ["other"]}])


def test_examples_are_changed_and_deleted(client: Client) -> None:
    dataset = client.create_dataset("changing")
    clip = {"attachments": {"clip": ("audio/wav", b"RIFF"), "note": ("text/plain", b"hi")}, "inputs": {"n": 1}}
    (example_id,) = client.create_examples(dataset_id=dataset.id, examples=[clip])["example_ids"]
    plain = client.create_example(inputs={"n": 2}, dataset_id=dataset.id, split="later")

    client.update_example(
        example_id,
        outputs={"n": 9},
        attachments_operations={"rename": {"clip": "sound"}},  # type: ignore[arg-type]
    )
    changed = client.read_example(example_id)
    assert (changed.inputs, changed.outputs) == ({"n": 1}, {"n": 9})
    assert {name: each["reader"].read() for name, each in (changed.attachments or {}).items()} == {"sound": b"RIFF"}
    client.delete_example(plain.id)
    assert [str(each.id) for each in client.list_examples(dataset_id=dataset.id)] == [example_id]
    client.delete_dataset(dataset_id=dataset.id)
    with pytest.raises(LangSmithNotFoundError):
        client.read_example(example_id)
    assert not client.has_dataset(dataset_name="changing")


def test_datasets_and_examples_without_attachments_are_written_by_json(client: Client) -> None:
    url = client.api_url
    dataset = ask("POST", f"{url}/datasets", json={"name": "plain"}).json()["id"]
    assert ask("PATCH", f"{url}/datasets/{dataset}", json={"description": "new"}).json()["description"] == "new"
    (listed,) = ask("GET", f"{url}/api/v2/datasets?name=plain").json()["items"]
    assert (listed["id"], listed["description"]) == (dataset, "new")
    fields = [{"dataset_id": dataset, "inputs": {"n": n}} for n in range(3)]
    made = [each["id"] for each in ask("POST", f"{url}/examples/bulk", json=fields).json()]
    changed = ask("PATCH", f"{url}/examples/{made[2]}", json={"split": ["a", "b"], "outputs": {"m": 1}}).json()
    assert (changed["inputs"], changed["outputs"]) == ({"n": 2}, {"m": 1})
    assert changed["metadata"] == {"dataset_split": ["a", "b"]}

    client.delete_examples([made[0]])
    client.delete_examples([made[1], made[1]], hard_delete=True)
    assert [str(each.id) for each in client.list_examples(dataset_name="plain")] == [made[2]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x", {}),
        ("{id}.colour", {}),
        ("{id}.attachment.../../a", b"RIFF"),
        ("{id}", []),
        ("{id}.inputs", b"{"),
        ("{id}.inputs", b" " * 20),
    ],
)
def test_a_malformed_part_of_an_example_is_refused_and_leaves_nothing(
    client: Client, calls: Dataset, name: str, content: object
) -> None:
    parts = [part(str(uuid4()) + ".attachment.clip", b"RIFF"), part(name.replace("{id}", str(uuid4())), content)]

    answer = ask(
        "POST",
        f"{client.api_url}/v1/platform/datasets/{calls.id}/examples",
        content=body(parts),
        headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
    )

    assert answer.status_code == 422
    assert client.read_dataset(dataset_id=calls.id).example_count == 2


def seconds_of(attachments: dict[str, Any]) -> float:
    with wave.open(io.BytesIO(attachments["conversation"]["reader"].read())) as sound:
        return float(sound.getnframes() / sound.getframerate())


def test_a_realtime_conversation_is_evaluated(client: Client, calls: Dataset, call: Conversation) -> None:
    examples = list(client.list_examples(dataset_id=calls.id, splits=["base"], include_attachments=True))

    def repeat(inputs: dict[str, Any], attachments: dict[str, Any]) -> dict[str, Any]:
        return {"seconds": seconds_of(attachments)}

    def is_whole(run: Any, example: Any) -> dict[str, Any]:
        spoken = [message for message in example.outputs["messages"] if message["role"] == "assistant"]
        return {"key": "whole", "score": int(run.outputs["seconds"] == call.seconds), "comment": f"{len(spoken)} said"}

    results = client.evaluate(
        repeat, data=examples, evaluators=[is_whole], experiment_prefix="whole", max_concurrency=0
    )
    (row,) = results
    assert row["evaluation_results"]["results"][0].score == 1

    (experiment,) = client.list_projects(reference_dataset_id=calls.id)
    client.flush()
    (run,) = client.list_runs(project_id=experiment.id, is_root=True)
    assert (run.reference_example_id, run.outputs) == (examples[0].id, {"seconds": call.seconds})
    (feedback,) = client.list_feedback(run_ids=[run.id])
    assert (feedback.key, feedback.score, feedback.session_id) == ("whole", 1, experiment.id)
    assert experiment.extra is not None

    def again(run: Any) -> dict[str, Any]:
        return {"key": "again", "score": run.outputs["seconds"] > 1}

    async def evaluated() -> list[Any]:
        async def target(inputs: dict[str, Any]) -> dict[str, Any]:
            return {"seconds": 2}

        found = await client.aevaluate(target, data=examples, evaluators=[again], experiment_prefix="async")
        return [row["evaluation_results"]["results"][0].score async for row in found]

    assert asyncio.run(evaluated()) == [True]
    existing = client.evaluate(experiment.name or "", evaluators=[is_whole], max_concurrency=0)
    assert [row["evaluation_results"]["results"][0].score for row in existing] == [1]
    client.flush()
    client.delete_project(project_id=str(experiment.id))
    assert len(list(client.list_projects(reference_dataset_id=calls.id))) == 1
