"""Errors: type, code and message are read in whatever shape a server writes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from langsmith_realtime.core.protocol.events import error_fields, error_text
from tests.support.driven_conversation import DrivenConversation


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"error": {"type": "server_error", "code": "busy", "message": "Later."}}, "busy: Later. (server_error)"),
        ({"error": "Model not loaded.", "code": "model_missing"}, "model_missing: Model not loaded."),
        ({"error": "Model not loaded."}, "Model not loaded."),
        ({"code": "rate_limited", "message": "Slow down."}, "rate_limited: Slow down."),
        ({"code": 429, "message": "Slow down."}, "429: Slow down."),
        ({"error": {"message": "Slow down."}, "code": 429}, "429: Slow down."),
        ({"error": None, "message": "Slow down."}, "Slow down."),
        ({"error": {"error": {"code": "busy", "message": "Later."}}}, "busy: Later."),
        ({"error": json.dumps({"error": {"code": "busy", "message": "Later."}})}, "busy: Later."),
        ({"error": [{"code": "busy", "message": "Later."}, {"code": "second"}]}, "busy: Later."),
        ({"error": ["Later."]}, "Later."),
        ({"error": {"detail": "No such voice.", "status_code": 422}}, "422: No such voice."),
        ({"error": {"code": "busy", "message": {"detail": "Later."}}}, "busy: Later."),
        ({"error": {"why": "a new shape"}}, '{"why": "a new shape"}'),
        ({"error": 503}, "503"),
        ({"error": {"type": "error", "message": "Later."}}, "Later."),
        ({"error_type": "quota", "error_message": "Used up."}, "quota: Used up."),
        ({}, "error"),
        ({"error": True}, "error"),
    ],
)
def test_an_error_event_of_any_shape_gives_its_run_the_type_the_code_and_the_message(
    body: dict[str, Any], error: str
) -> None:
    driven = DrivenConversation()
    driven.server("error", event_id="event_9", **body)
    assert driven.events[-1].error == error
    assert driven.conversation.numbers()["errors"] == 1


@pytest.mark.parametrize(
    ("name", "body", "error"),
    [
        (
            "response.done",
            {"response": {"id": "r", "status": "failed", "status_details": {"error": "Out of memory."}}},
            "failed: Out of memory.",
        ),
        ("response.done", {"response": {"id": "r", "status": "failed", "error": {"code": 500}}}, "failed: 500"),
        (
            "response.done",
            {"response": {"id": "r", "status": "failed", "status_details": {"type": "failed", "code": "oom"}}},
            "failed: oom",
        ),
        (
            "conversation.item.input_audio_transcription.failed",
            {"item_id": "i", "error": "Too quiet."},
            "transcription failed: Too quiet.",
        ),
        (
            "conversation.item.input_audio_transcription.failed",
            {"item_id": "i", "code": "quiet", "message": "Too quiet."},
            "transcription failed: quiet: Too quiet.",
        ),
        (
            "mcp_list_tools.failed",
            {"item_id": "i", "error": {"code": 401, "message": "No key."}},
            "listing the MCP tools failed: 401: No key.",
        ),
        ("response.mcp_call.failed", {"item_id": "i", "error": "No answer."}, "the MCP call failed: No answer."),
        ("avatar.connection.failed", {"message": "No camera."}, "No camera."),
        ("avatar.error", {}, "no reason given"),
        ("avatar.status", {"error": {"message": "No camera."}}, "No camera."),
    ],
)
def test_every_event_that_reports_a_failure_has_its_reason(name: str, body: dict[str, Any], error: str) -> None:
    driven = DrivenConversation()
    driven.server(name, **body)
    assert driven.events[-1].error == error


def test_an_unknown_event_without_an_error_is_no_failure() -> None:
    driven = DrivenConversation()
    bodies: list[dict[str, Any]] = [{"error": None}, {"error": {}}, {"message": "Hello."}]
    for body in bodies:
        driven.server("avatar.status", **body)
        assert driven.events[-1].error is None
    assert driven.conversation.numbers()["errors"] == 0


def test_only_type_and_code_are_the_kind_of_a_failure_because_the_message_may_quote_the_user() -> None:
    failure = error_text({"type": "server_error", "code": "busy", "message": "you said: my card number"})
    assert failure is not None
    assert failure.kind == "busy (server_error)"
    unnamed = error_text("you said: my card number")
    assert unnamed is not None
    assert unnamed.kind == "error"


def test_the_fields_of_the_error_win_over_those_beside_it_and_the_events_own_id_is_not_the_refused_one() -> None:
    beside = {"type": "error", "event_id": "event_of_the_server", "code": "outer", "param": "session.voice"}
    assert error_fields({"code": "inner", "event_id": "mine"}, beside) == {
        "code": "inner",
        "event_id": "mine",
        "param": "session.voice",
    }
    assert error_fields(None, beside) == {"code": "outer", "param": "session.voice"}


def test_an_error_that_is_nested_without_end_is_cut_off() -> None:
    nested: Any = "deep"
    for _ in range(1000):
        nested = {"error": nested}
    cut_off = error_text(nested)
    assert cut_off is not None
    assert len(cut_off) < 2000
    assert '{"error": "deep"}' not in cut_off
