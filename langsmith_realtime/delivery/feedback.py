"""Numbers of a conversation on their way to LangSmith as feedback scores of its root run.

They have a thread of their own: a score is one request, and the runs must not wait for it. Each goes through
``POST /feedback``, which says whether it arrived. The multipart route, which LangSmith's client takes where
it may, does not, and it always moves the trace to the extended, dearer, retention; a score for every
conversation must not do that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5
from weakref import WeakKeyDictionary

from langsmith import Client
from langsmith.run_trees import RunTree
from langsmith.schemas import APIFeedbackSource, FeedbackCreate
from langsmith.utils import (
    LangSmithAPIError,
    LangSmithAuthError,
    LangSmithConflictError,
    LangSmithConnectionError,
    LangSmithNotFoundError,
    LangSmithRateLimitError,
    LangSmithRequestTimeout,
)

from langsmith_realtime.delivery.langsmith_client.masking import shown_scores
from langsmith_realtime.delivery.langsmith_client.sampling import is_left_out
from langsmith_realtime.delivery.langsmith_client.transport import answers
from langsmith_realtime.delivery.operations import Operation
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.runtime.guard import ANYTHING, logger

#: How often a score is sent at once, while nobody answers or the run is not stored yet.
ATTEMPTS = 3
#: What LangSmith's client says of an endpoint that takes nothing now; of the rest it tells the status.
TROUBLE = (
    LangSmithAPIError,
    LangSmithAuthError,
    LangSmithConnectionError,
    LangSmithRateLimitError,
    LangSmithRequestTimeout,
)
#: Digits after the point, as LangSmith's own client sends them.
DIGITS = 4

_projects: WeakKeyDictionary[Client, dict[str | None, UUID]] = WeakKeyDictionary()


@dataclass(slots=True, eq=False)
class Feedback(Operation):
    """The scores of one run, by the key of each."""

    scores: Mapping[str, float] = field(default_factory=dict)


class FeedbackSender(Sender):
    """The thread that sends them; a run's scores count as one operation."""

    name = "langsmith-realtime-feedback"

    def _send(self, batch: list[Operation]) -> list[Operation]:
        for place, operation in enumerate(batch):
            assert isinstance(operation, Feedback)
            statuses: dict[str, int] = {}
            try:
                with answers(operation.run.client) as statuses:
                    _post_all(operation.run, operation.scores)
                delivered = True
            except ANYTHING as error:
                if isinstance(error, TROUBLE) or max(statuses.values(), default=0) >= 500:
                    logger.debug("feedback is tried again: %s", type(error).__name__)
                    return batch[place:]
                logger.warning("the feedback of a conversation could not be sent: %s", type(error).__name__)
                logger.debug("its run is %s", operation.run.id, exc_info=True)
                delivered = False
            self._verdict([operation], delivered=delivered)
        return []


def _post_all(run: RunTree, scores: Mapping[str, float]) -> None:
    client = run.client
    sampled = getattr(client, "tracing_sample_rate", None) is not None
    if is_left_out(run):
        return
    shown = shown_scores(client, scores)
    where = _where(client, run) if shown else {}
    for key, score in shown.items():
        try:
            client.request_with_retries(
                "POST",
                "/feedback",
                request_kwargs={"data": json.dumps(_body(run, key, score, where)).encode()},
                stop_after_attempt=ATTEMPTS,
                retry_on=(LangSmithNotFoundError,),
            )
        except LangSmithConflictError:
            logger.debug("%s of run %s is there already", key, run.id)
        except LangSmithNotFoundError:
            if not sampled:
                raise
            return


def _body(run: RunTree, key: str, score: float, where: Mapping[str, Any]) -> dict[str, Any]:
    feedback = FeedbackCreate(
        id=uuid5(run.id, key),  # sent again it is the same
        run_id=run.id,
        trace_id=run.trace_id,
        start_time=run.start_time,
        key=key,
        score=round(score, DIGITS),
        feedback_source=APIFeedbackSource(metadata={"ls_integration": "langsmith-realtime"}),
        **where,
    )
    # Servers that do not know the last word ignore it.
    return {**feedback.model_dump(mode="json", exclude_none=True), "extend_trace_retention": False}


def _where(client: Client, run: RunTree) -> dict[str, Any]:
    """The address or the project, by which a server may need to find the run; nothing where neither can be told."""
    address = getattr(run, "address", None)
    if address is not None:
        return {"address": address}
    known = _projects.setdefault(client, {})
    if run.session_name not in known:
        try:
            known[run.session_name] = client.read_project(project_name=run.session_name).id
        except Exception:
            logger.debug("the id of the project is not known", exc_info=True)
            return {}
    return {"session_id": known[run.session_name]}
