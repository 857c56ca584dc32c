"""One script through every way to trace gives the spans that docs/otel.md describes, with the times of LangSmith."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
from openai.resources.realtime.realtime import RealtimeConnection

from langsmith_realtime import wrap_openai_realtime
from langsmith_realtime.adapters.no_code import import_hook
from langsmith_realtime.adapters.otel_instrumentor import RealtimeInstrumentor
from langsmith_realtime.collector import Collector
from langsmith_realtime.options.otel import Otel
from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn, silence, speech_like
from tests import ROOT
from tests.support import otel_conversation as talk
from tests.support.conversations import Node, sync_client, the_tree
from tests.support.otlp_receiver import OtlpReceiver, Providers, ReceivedSpan
from tests.support.surfaces import SURFACES, After, Client, Frame, Part, Surface

pytestmark = pytest.mark.newest

SCRIPT = Script([Turn(Call("look_up", {"city": "Paris"}, call_id="call_1")), Turn(Say("Sunny."))], speed=0, seed=1)
QUESTION = speech_like("How is it in Paris?", 0.3), silence(0.6)
#: The application's own span, which it makes while it carries out the call.
OWN = "(your own spans)"


def append(pcm: bytes) -> Frame:
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}


RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}


def part(work: Callable[[], None]) -> Part:
    """The client's part; ``work`` is called when the call is complete."""

    def carry_out(_: list[Frame]) -> list[Frame]:
        work()
        return []

    answer: list[Frame] = [{"type": "conversation.item.create", "item": RESULT}, {"type": "response.create"}]
    return Part(
        opening=[append(pcm) for pcm in QUESTION],
        replies=[After("response.output_item.done", carry_out), After("response.done", answer)],
        until=("response.done", 2),
    )


# The ways that tests/support/surfaces.py does not have.


def hold(connection: RealtimeConnection, client: Client) -> None:
    for frame in client.part.opening:
        connection.send(frame)  # type: ignore[arg-type]
    for event in connection:
        for frame in client.receive(event.to_dict(warnings=False)):
            connection.send(frame)  # type: ignore[arg-type]
        if client.hangs_up:
            connection.close()


def with_a_wrapped_client(server: RealtimeServer, client: Client, **options: Any) -> None:
    with wrap_openai_realtime(sync_client(server), **options).realtime.connect(model="gpt-realtime") as connection:
        hold(connection, client)


def without_code(server: RealtimeServer, client: Client, **options: Any) -> None:
    """Traces as a process with ``opentelemetry-instrument`` does, and LANGSMITH_REALTIME_AUTO."""
    instrumentor = RealtimeInstrumentor()
    import_hook.install()
    instrumentor.instrument(**{name: getattr(options["otel"], name) for name in Otel.__dataclass_fields__})
    try:
        with sync_client(server).realtime.connect(model="gpt-realtime") as connection:
            hold(connection, client)
    finally:
        instrumentor.uninstrument()
        import_hook.uninstall(import_hook.ENVIRONMENT)


def with_the_agents_sdk(server: RealtimeServer, client: Client, **options: Any) -> None:
    """Plays the part with the SDK, which carries out the call, sends its result and asks for the answer."""
    pytest.importorskip("agents")
    from agents import function_tool  # noqa: PLC0415 - an extra
    from agents.realtime import RealtimeAgent  # noqa: PLC0415

    from tests.support.agents_sdk import traced, until_answers  # noqa: PLC0415

    @function_tool
    def look_up(city: str) -> str:
        """The weather of a city."""
        client.part.replies[0].frames([])  # type: ignore[operator]
        return "sunny"

    async def converse() -> None:
        async with traced(server, RealtimeAgent[Any](name="Front", tools=[look_up]), **options) as session:
            for pcm in QUESTION:
                await session.send_audio(pcm)
            await until_answers(session, 2)

    asyncio.run(converse())


WAYS = [
    *SURFACES,
    Surface("wrapped_client", with_a_wrapped_client),
    Surface("no_code", without_code),
    Surface("agents_sdk", with_the_agents_sdk),
]

# What the page says.


def section() -> str:
    return (ROOT / "docs/otel.md").read_text("utf-8").split("\n## Spans\n")[1].split("\n### ")[0]


def page_tree() -> list[Any]:
    """The tree on the page, as :meth:`OtlpReceiver.shape` gives it."""
    lines = [re.fullmatch(r"([│ ]*(?:[├└]─ )?)(.*)", line) for line in section().split("```")[1].strip().splitlines()]
    named = [(len(line[1]) // 3, line[2]) for line in lines if line is not None]

    def below(depth: int, names: list[tuple[int, str]]) -> list[Any]:
        starts = [at for at, (deep, _) in enumerate(names) if deep == depth]
        made: list[Any] = []
        for begin, end in pairwise([*starts, len(names)]):
            children = below(depth + 1, names[begin + 1 : end])
            made.append((names[begin][1], children) if children else names[begin][1])
        return made

    return below(0, named)


def page_kinds() -> dict[str, str]:
    """The kind of each span in the table on the page, by the first word of its name."""
    rows = [line.split("|")[1:3] for line in section().splitlines() if line.startswith("| `")]
    return {name.strip().strip("`").split()[0]: kind.split(",")[0].strip() for name, kind in rows}


def without_own(shape: list[Any]) -> list[Any]:
    """The tree without the application's own span."""
    kept = [(each[0], without_own(each[1])) if isinstance(each, tuple) else each for each in shape if each != OWN]
    return [each if not isinstance(each, tuple) or each[1] else each[0] for each in kept]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_every_way_to_trace_gives_the_spans_that_the_page_describes_when_langsmiths_runs_do(
    way: Surface, tracing: Collector, providers: Providers, receiver: OtlpReceiver
) -> None:
    is_live = way.name != "tracer_from_the_log"  # the log is traced afterwards, when nobody works inside

    def work() -> None:
        if is_live:
            providers.tracer.get_tracer("shop").start_span(OWN).end()

    with RealtimeServer(SCRIPT) as server:
        address = {"server.address": "127.0.0.1", "server.port": urlsplit(server.url).port}
        way.talk(server, Client(part(work)), otel=providers.otel(content=True))
    root = the_tree(tracing)
    talk.arrive(providers)
    assert receiver.shape() == (page_tree() if is_live else without_own(page_tree()))
    assert receiver.orphans() == []
    ours = [span for span in receiver.all_spans if span.name != OWN]
    kinds = {1: "internal", 3: "client"}
    assert {span.name.split()[0]: kinds[span.kind] for span in ours}.items() <= page_kinds().items()
    tool = receiver.the_span("execute_tool")
    assert tool.attributes["gen_ai.tool.call.result"] == "sunny"
    assert_times_of(root, receiver)
    is_known = not way.name.startswith("tracer_")  # a SessionTracer does not see the socket
    for span in (receiver.the_span("realtime_session"), *receiver.spans("chat")):
        assert (address.items() <= span.attributes.items()) is is_known
    measured = receiver.point("gen_ai.client.operation.duration", gen_ai__operation__name="chat")
    assert (address.items() <= measured.attributes.items()) is is_known


def assert_times_of(root: Node, receiver: OtlpReceiver) -> None:
    """Assert that the spans begin and end with LangSmith's runs, to a millisecond, by the page's table."""

    def begins(span: ReceivedSpan, node: Node) -> None:
        assert abs(span.start / 1e9 - node.run.start_time.timestamp()) <= 0.001, (span.name, node.run.name)

    def ends(span: ReceivedSpan, node: Node) -> None:
        assert node.run.end_time is not None
        assert abs(span.end / 1e9 - node.run.end_time.timestamp()) <= 0.001, (span.name, node.run.name)

    session, speech = receiver.the_span("realtime_session"), receiver.the_span("user_speech")
    begins(session, root)
    ends(session, root)
    assert session.start <= speech.start <= speech.end, "sent at once, the audio has the time of its sending"
    chats = receiver.spans("chat")
    for chat, model in zip(chats, root.find("model"), strict=True):
        ends(chat, model)
    begins(chats[0], root["input_audio_buffer.speech_stopped"])
    tool = receiver.the_span("execute_tool")
    begins(tool, root["response.function_call_arguments.done"])
    ends(tool, root["look_up"])
    requested, created = chats[1].start, list(root.find("response.created"))[1].run.start_time
    assert tool.end <= requested <= created.timestamp() * 1e9 + 1e6, "from the request, which is no run"
