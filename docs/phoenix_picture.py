"""Makes the picture of docs/otel/phoenix.md: holds a conversation, sends it to Phoenix, and opens its page in Chromium.

Run it with `make phoenix-picture`, and look at the picture before you commit it.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser

from langsmith_realtime import Otel, SessionTracer, flush
from tests import ROOT
from tests.support import otel_conversation as talk
from tests.support.browser import chromium
from tests.support.phoenix import Phoenix, phoenix

PICTURE = Path(__file__).parent / "phoenix.png"
PROJECT = "voice-agent"


def converse(tracer: SessionTracer) -> None:
    """Ask about the weather, with pauses, so that the durations are those of a conversation."""
    item = "item_user"
    tracer.server_event(talk.SESSION)
    time.sleep(0.3)
    tracer.server_event({"type": "input_audio_buffer.speech_started", "item_id": item})
    time.sleep(1.4)
    tracer.server_event({"type": "input_audio_buffer.speech_stopped", "item_id": item})
    tracer.server_event({"type": "input_audio_buffer.committed", "item_id": item, "previous_item_id": None})
    told = {"item_id": item, "content_index": 0, "transcript": "How warm is it in Paris?"}
    tracer.server_event({"type": "conversation.item.input_audio_transcription.completed", **told})
    talk.begins(tracer, "resp_1")
    time.sleep(0.5)
    talk.calls(tracer)
    talk.ends(tracer, "resp_1", talk.CALL)
    time.sleep(0.2)
    talk.answers(tracer)
    tracer.client_event({"type": "response.create"})
    talk.begins(tracer, "resp_2")
    time.sleep(0.4)
    spoken = talk.says(tracer, "resp_2", "It is 21 degrees.")
    time.sleep(0.6)
    talk.ends(tracer, "resp_2", spoken)


def main() -> None:
    """Hold the conversation and take the picture."""
    command = ROOT / ".venv-phoenix/bin/phoenix"
    with tempfile.TemporaryDirectory() as folder, phoenix(command, Path(folder)) as running, chromium() as browser:
        provider = running.provider(PROJECT)
        otel = Otel(tracer_provider=provider, preset="phoenix", content=True)
        with SessionTracer(otel=otel, langsmith=False, thread_id="call-7") as tracer:
            converse(tracer)
        flush(20)
        provider.shutdown()
        running.spans(PROJECT, 5)
        (session,) = running.get(f"/v1/projects/{PROJECT}/sessions")["data"]
        picture(browser, running, session["project_id"], session["traces"][0]["trace_id"])


def picture(browser: Browser, running: Phoenix, project: str, trace: str) -> None:
    """Take the picture of a trace, without the rest of Phoenix's page: its list of spans, and the last response."""
    page = browser.new_page(viewport={"width": 1180, "height": 600})
    page.goto(f"{running.base_url}/projects/{project}/traces/{trace}")
    page.get_by_text("chat gpt-realtime").last.click()
    page.get_by_text("It is 21 degrees.").first.wait_for()
    page.wait_for_timeout(1500)
    page.screenshot(path=PICTURE, clip={"x": 296, "y": 46, "width": 884, "height": 554})


if __name__ == "__main__":
    main()
