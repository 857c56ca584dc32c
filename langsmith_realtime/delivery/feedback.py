"""Sends a conversation's metrics to LangSmith as feedback scores of its root run.

Threads of their own send them, because each score is one request and the runs must not wait for it. ``POST /feedback``
is used because it reports whether a score arrived. The multipart route, which LangSmith's client prefers, does not,
and it moves every trace that has a score to the longer, more expensive retention.
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

from langsmith_realtime.delivery.langsmith_client.masking import visible_scores
from langsmith_realtime.delivery.langsmith_client.sampling import is_left_out
from langsmith_realtime.delivery.langsmith_client.transport import http_statuses
from langsmith_realtime.delivery.operations import Operation
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS, logger

#: How often LangSmith's client tries a request while the endpoint does not answer or has not stored the run yet.
ATTEMPTS = 3
#: Errors of LangSmith's client after which the scores are retried later, as for any HTTP status of 500 or more.
RETRYABLE_ERRORS = (
    LangSmithAPIError,
    LangSmithAuthError,
    LangSmithConnectionError,
    LangSmithRateLimitError,
    LangSmithRequestTimeout,
)
#: Decimal places of a score, as many as LangSmith's own client sends.
DECIMAL_PLACES = 4

#: Project ids by project name, for each client.
_project_ids: WeakKeyDictionary[Client, dict[str | None, UUID]] = WeakKeyDictionary()


@dataclass(slots=True, eq=False)
class Feedback(Operation):
    """The feedback scores of one run, by key."""

    scores: Mapping[str, float] = field(default_factory=dict)


class FeedbackSender(Sender):
    """Sends :class:`Feedback`; the scores of one run count as one operation."""

    name = "langsmith-realtime-feedback"

    def _send(self, batch: list[Operation]) -> list[Operation]:
        for position, operation in enumerate(batch):
            assert isinstance(operation, Feedback)
            statuses: dict[str, int] = {}
            try:
                with http_statuses(operation.run.client) as statuses:
                    _post_scores(operation.run, operation.scores)
                delivered = True
            except CALLBACK_ERRORS as error:
                if isinstance(error, RETRYABLE_ERRORS) or max(statuses.values(), default=0) >= 500:
                    logger.debug("sending feedback is retried after %s", type(error).__name__)
                    return batch[position:]
                logger.warning("the feedback of a conversation could not be sent: %s", type(error).__name__)
                logger.debug("the feedback of run %s could not be sent", operation.run.id, exc_info=True)
                delivered = False
            self._report([operation], delivered=delivered)
        return []


def _post_scores(run: RunTree, scores: Mapping[str, float]) -> None:
    client = run.client
    is_sampling = getattr(client, "tracing_sample_rate", None) is not None
    if is_left_out(run):
        return
    visible = visible_scores(client, scores)
    location = _location(client, run) if visible else {}
    for key, score in visible.items():
        try:
            client.request_with_retries(
                "POST",
                "/feedback",
                request_kwargs={"data": json.dumps(_body(run, key, score, location)).encode()},
                stop_after_attempt=ATTEMPTS,
                retry_on=(LangSmithNotFoundError,),
            )
        except LangSmithConflictError:
            logger.debug("the feedback %s of run %s exists already", key, run.id)
        except LangSmithNotFoundError:
            if not is_sampling:
                raise
            return  # sampling may have left out the run


def _body(run: RunTree, key: str, score: float, location: Mapping[str, Any]) -> dict[str, Any]:
    feedback = FeedbackCreate(
        id=uuid5(run.id, key),  # equal when sent again, so that a retry creates no second score
        run_id=run.id,
        trace_id=run.trace_id,
        start_time=run.start_time,
        key=key,
        score=round(score, DECIMAL_PLACES),
        feedback_source=APIFeedbackSource(metadata={"ls_integration": "langsmith-realtime"}),
        **location,
    )
    # A server that does not know extend_trace_retention ignores it.
    return {**feedback.model_dump(mode="json", exclude_none=True), "extend_trace_retention": False}


def _location(client: Client, run: RunTree) -> dict[str, Any]:
    """The run's address or project id, which some servers need to find the run; empty if neither is known."""
    address = getattr(run, "address", None)
    if address is not None:
        return {"address": address}
    ids = _project_ids.setdefault(client, {})
    if run.session_name not in ids:
        try:
            ids[run.session_name] = client.read_project(project_name=run.session_name).id
        except Exception:
            logger.debug("the id of the project could not be read", exc_info=True)
            return {}
    return {"session_id": ids[run.session_name]}
