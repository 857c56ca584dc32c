"""Generates conversations on simulated time, mutates them as servers do, and checks what must hold for every one.

A :class:`Plan` says who speaks when and for how long. :func:`build` makes the events of a GA server of it, together
with the truth: words, tokens, sounds and silences. Each of :data:`MUTATIONS` changes the events as some server does,
and the truth stays.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from hypothesis import strategies as st

from langsmith_realtime.core.audio.decoding import Samples
from langsmith_realtime.core.protocol.events import BETA_NAMES
from tests.support.audio.sounds import wire
from tests.support.cases import encoded
from tests.support.fed_session import Event, FedSession

#: Length of a microphone chunk, and how long turn detection needs to hear speech and its end, in seconds.
CHUNK_S, HEARS_S, WAITS_S = 0.04, 0.16, 0.4
#: What turn detection adds before speech, in ms.
PADDING_MS = 300
#: How long a gated microphone sends before and after speech, in seconds.
GATE_BEFORE_S, GATE_AFTER_S = 0.12, 0.6
#: How far a sound may stand from its place, and a latency from the silence that it measures, in seconds.
PLACE_S, LATENCY_S = 0.02, 0.05


# The plan.


@dataclass(frozen=True)
class Turn:
    """One turn. Lengths are in tenths of a second, so that examples are short.

    Attributes:
        typed: whether the user types instead of speaking.
        speech: length of the user's speech.
        think: from the end of the user's turn to the answer's sound.
        answer: length of the answer's sound.
        tool: whether the agent calls a tool first, with or without saying something.
        transcript: when the user's transcript arrives.
        interrupted: whether the next turn begins while the answer is heard, if it is spoken.
        words: number of words of each side.
    """

    typed: bool = False
    speech: int = 6
    think: int = 3
    answer: int = 8
    tool: Literal["none", "silent", "spoken"] = "none"
    transcript: Literal["early", "during", "late"] = "during"
    interrupted: bool = False
    words: int = 2


@dataclass(frozen=True)
class Plan:
    """A conversation: its turns, the format of both sides, and the names of the mutations, in any order."""

    turns: tuple[Turn, ...]
    wire: str = "pcm 24 kHz"
    mutations: tuple[str, ...] = ()


# What happens in the conversation.


@dataclass(frozen=True)
class Step:
    """An event that is sent or that arrives at ``t``, in seconds."""

    t: float
    side: Literal["server", "client"]
    event: Event

    @property
    def kind(self) -> str:
        return str(self.event["type"])


@dataclass(frozen=True)
class Sound:
    """A marked sound of a side, as it is heard: a chirp that begins at ``hz``, from ``begin`` to ``end`` in seconds."""

    side: Literal["user", "agent"]
    begin: float
    end: float
    hz: int

    def samples(self, rate: int, seconds: float | None = None) -> Samples:
        """Returns the chirp, or its beginning of that length."""
        times = np.arange(round((self.end - self.begin if seconds is None else seconds) * rate)) / rate
        return np.asarray(12_000 * np.cos(2 * np.pi * (self.hz + 100 * times) * times), dtype=np.int16)


@dataclass
class Conversation:
    """A conversation with its truth.

    Attributes:
        steps: all events but the microphone's, in order of their times.
        said: the words of each message in order, with its role.
        sounds: every sound that is heard, in order of its begin within a side.
        latencies: by response, the silence between the user's and the agent's sound, in seconds; None for no latency.
        reactions: by interrupted response, how long the agent was heard after the user began to speak, in seconds.
        tokens: what the server reported, by key of the root.
        calls: the ids of all calls.
        ends: when the conversation ends, in seconds.
    """

    steps: list[Step] = field(default_factory=list)
    said: list[tuple[str, list[str]]] = field(default_factory=list)
    sounds: list[Sound] = field(default_factory=list)
    latencies: dict[str, float | None] = field(default_factory=dict)
    reactions: dict[str, float] = field(default_factory=dict)
    tokens: Counter[str] = field(default_factory=Counter)
    calls: list[str] = field(default_factory=list)
    ends: float = 0.0


@dataclass(frozen=True)
class Wire:
    """How the session tells the formats: its fields, and the encoding and the rate in Hz of each side."""

    session: Event
    encoding: Literal["pcm16", "ulaw"] = "pcm16"
    user_rate: int = 24_000
    agent_rate: int = 24_000


def _nested(audio_format: Event) -> Event:
    return {"audio": {"input": {"format": audio_format}, "output": {"format": audio_format}}}


def _flat(user: str, agent: str, **more: Any) -> Event:
    return {"input_audio_format": user, "output_audio_format": agent, **more}


#: The formats by name.
WIRES = {
    "pcm 24 kHz": Wire(_nested({"type": "audio/pcm", "rate": 24_000})),
    "pcm 16 kHz": Wire(_nested({"type": "audio/pcm", "rate": 16_000}), user_rate=16_000, agent_rate=16_000),
    "pcmu": Wire(_nested({"type": "audio/pcmu"}), "ulaw", 8_000, 8_000),
    "g711_ulaw": Wire(_flat("g711_ulaw", "g711_ulaw"), "ulaw", 8_000, 8_000),
    "pcm16_16000hz": Wire(
        _flat("pcm16", "pcm16_16000hz", input_audio_sampling_rate=16_000), user_rate=16_000, agent_rate=16_000
    ),
    "pcm16_8000hz": Wire(
        _flat("pcm16", "pcm16_8000hz", input_audio_sampling_rate=8_000), user_rate=8_000, agent_rate=8_000
    ),
}


class _Builder:
    """Writes down the events of a plan, in order of their times."""

    def __init__(self, plan: Plan) -> None:
        self.made = Conversation()
        self._wire = WIRES[plan.wire]
        self._last_item: str | None = None
        self._responses = 0
        self._agent_until = 0.0
        detection = {"type": "server_vad", "prefix_padding_ms": PADDING_MS, "interrupt_response": True}
        session = {"id": "sess_1", "model": "gpt-realtime", **self._wire.session}
        if "audio" in session:
            audio = session["audio"]
            listens = {**audio["input"], "turn_detection": detection, "transcription": {"model": "whisper-1"}}
            session["audio"] = {**audio, "input": listens}
        else:
            session |= {"turn_detection": detection, "input_audio_transcription": {"model": "whisper-1"}}
        self.server(0.01, "session.created", session=session)
        now, cut = 0.4, False
        for number, turn in enumerate(plan.turns):
            following = plan.turns[number + 1] if number + 1 < len(plan.turns) else None
            now, cut = self._turn(number, turn, now, cut, interrupted_by=following)
        self.made.steps.sort(key=lambda step: step.t)
        self.made.ends = max(now, self._agent_until) + 0.5

    def server(self, t: float, kind: str, **fields: Any) -> None:
        event = {"type": kind, "event_id": f"event_{len(self.made.steps)}", **fields}
        self.made.steps.append(Step(round(t, 4), "server", event))

    def client(self, t: float, kind: str, **fields: Any) -> None:
        self.made.steps.append(Step(round(t, 4), "client", {"type": kind, **fields}))

    def _turn(
        self, number: int, turn: Turn, now: float, cuts: bool, *, interrupted_by: Turn | None
    ) -> tuple[float, bool]:
        """Adds a turn that begins at ``now``. Returns when the next one begins, and whether it cuts this answer.

        ``cuts`` says whether this turn cuts the answer before.
        """
        words = [f"u{number}w{each}" for each in range(turn.words)]
        item_id = f"item_u{number}"
        if turn.typed:
            asked, ended = self._typed(now, item_id, words), None
        else:
            asked, ended = self._spoken(number, now, turn, item_id, words, cuts=cuts), now + turn.speech / 10
        if turn.tool != "none":
            asked, ended = self._calls(number, turn, asked, ended)
        begins, done_at = self._answer(f"a{number}", asked, turn, ended)
        if not turn.typed and turn.transcript == "late":
            self._transcribed(done_at + 0.03, item_id, words)
        ends, starts = begins + turn.answer / 10, max(begins + turn.answer / 30, done_at + 0.05)
        can_cut = interrupted_by is not None and not interrupted_by.typed and starts + HEARS_S < ends - 0.1
        if turn.interrupted and can_cut:
            return starts, True
        return max(ends, done_at + 0.1) + 0.3, False

    def _typed(self, t: float, item_id: str, words: list[str]) -> float:
        content = [{"type": "input_text", "text": " ".join(words)}]
        item: Event = {"type": "message", "role": "user", "content": content}
        self.client(t, "conversation.item.create", item=item)
        self.client(t + 0.001, "response.create")
        self._item(t + 0.02, {"id": item_id, "status": "completed", **item}, is_done=True)
        self.made.said.append(("user", words))
        return t + 0.03

    def _spoken(self, number: int, begin: float, turn: Turn, item_id: str, words: list[str], *, cuts: bool) -> float:
        end = begin + turn.speech / 10
        self.made.sounds.append(Sound("user", begin, end, 300 + 70 * number))
        heard = begin + HEARS_S
        self.server(heard, "input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=begin)
        if cuts:
            self._cut(heard)
        stopped = end + WAITS_S
        if turn.transcript == "early":
            for index, word in enumerate(_pieces(words)):
                self._transcript_delta(end + 0.01 * index, item_id, word)
        self.server(stopped, "input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=stopped)
        place = {"item_id": item_id, "previous_item_id": self._last_item}
        self.server(stopped + 0.001, "input_audio_buffer.committed", **place)
        content = [{"type": "input_audio", "transcript": None}]
        item = {"id": item_id, "type": "message", "role": "user", "status": "completed", "content": content}
        self._item(stopped + 0.002, item, is_done=True)
        if turn.transcript == "early":
            self._transcription_completed(stopped + 0.004, item_id, words)
        elif turn.transcript == "during":
            self._transcribed(stopped + 0.02, item_id, words)
        self.made.said.append(("user", words))
        return stopped + 0.01

    def _cut(self, t: float) -> None:
        """The user's speech cuts the sound that is heard; the client truncates the item."""
        index = max(index for index, sound in enumerate(self.made.sounds) if sound.side == "agent")
        sound = self.made.sounds[index]
        self.made.sounds[index] = replace(sound, end=t)
        item_id = f"item_{self.made.said[-1][1][0].partition('w')[0]}"
        played = round((t - sound.begin) * 1000)
        place = {"item_id": item_id, "content_index": 0, "audio_end_ms": played}
        self.client(t + 0.01, "conversation.item.truncate", **place)
        self.server(t + 0.03, "conversation.item.truncated", **place)
        self._agent_until = t
        self.made.reactions[f"resp_{self._responses}"] = HEARS_S

    def _transcript_delta(self, t: float, item_id: str, delta: str) -> None:
        kind = "conversation.item.input_audio_transcription.delta"
        self.server(t, kind, item_id=item_id, content_index=0, delta=delta)

    def _transcription_completed(self, t: float, item_id: str, words: list[str]) -> None:
        usage = {"type": "duration", "seconds": 1}
        self.server(
            t,
            "conversation.item.input_audio_transcription.completed",
            item_id=item_id,
            content_index=0,
            transcript=" ".join(words),
            usage=usage,
        )

    def _transcribed(self, t: float, item_id: str, words: list[str]) -> None:
        for index, word in enumerate(_pieces(words)):
            self._transcript_delta(t + 0.001 * index, item_id, word)
        self._transcription_completed(t + 0.01, item_id, words)

    def _item(self, t: float, item: Event, *, is_done: bool = False) -> None:
        place = {"previous_item_id": self._last_item, "item": item}
        self.server(t, "conversation.item.added", **place)
        if is_done:
            self.server(t + 0.0005, "conversation.item.done", **place)
        self._last_item = str(item["id"])

    def _response(self, t: float) -> str:
        self._responses += 1
        response_id = f"resp_{self._responses}"
        body = {"id": response_id, "status": "in_progress", "conversation_id": "conv_1", "output": []}
        self.server(t, "response.created", response=body)
        return response_id

    def _calls(self, number: int, turn: Turn, asked: float, ended: float | None) -> tuple[float, float | None]:
        """The agent calls a tool. Returns when the next response is asked for, and when the user's sound ended.

        The latter is None if the agent has said something since.
        """
        response_id, output, t = self._response(asked), [], asked + 0.02
        if turn.tool == "spoken":
            begins, t, item = self._message(response_id, f"b{number}", asked, turn, 4)
            self.made.latencies[response_id] = None if ended is None else begins - ended
            output, ended = [item], None
        call_id, arguments = f"call_{number}", json.dumps({"n": number})
        fields = {"call_id": call_id, "name": "look", "type": "function_call", "id": f"item_c{number}"}
        begun, done = (
            {**fields, "status": s, "arguments": a} for s, a in (("in_progress", ""), ("completed", arguments))
        )
        place = {"response_id": response_id, "output_index": len(output)}
        self.server(t, "response.output_item.added", **place, item=begun)
        self._item(t + 0.001, begun)
        spoken = {**place, "item_id": fields["id"], "call_id": call_id}
        self.server(t + 0.002, "response.function_call_arguments.delta", **spoken, delta=arguments)
        self.server(t + 0.003, "response.function_call_arguments.done", **spoken, name="look", arguments=arguments)
        self.server(t + 0.004, "conversation.item.done", previous_item_id=None, item=done)
        self.server(t + 0.005, "response.output_item.done", **place, item=done)
        self._done(t + 0.01, response_id, [*output, done])
        self.made.calls.append(call_id)
        result = {"type": "function_call_output", "call_id": call_id, "output": f"r{number}"}
        self.client(t + 0.2, "conversation.item.create", item=result)
        self.client(t + 0.201, "response.create")
        self._item(t + 0.22, {**result, "id": f"item_r{number}", "status": "completed"}, is_done=True)
        return t + 0.23, ended

    def _answer(self, name: str, asked: float, turn: Turn, ended: float | None) -> tuple[float, float]:
        """The agent answers. Returns when its sound begins to be heard, and when the response is done."""
        response_id = self._response(asked)
        begins, t, item = self._message(response_id, name, asked, turn, turn.answer)
        self._done(t, response_id, [item])
        self.made.latencies[response_id] = None if ended is None else begins - ended
        return begins, t

    def _message(
        self, response_id: str, name: str, asked: float, turn: Turn, tenths: int
    ) -> tuple[float, float, Event]:
        """A spoken message. Returns when it begins to be heard, when it is complete, and its item."""
        words = [f"{name}w{each}" for each in range(turn.words)]
        text, item_id, t = " ".join(words), f"item_{name}", asked + turn.think / 10
        base: Event = {"id": item_id, "type": "message", "role": "assistant"}
        begun = {**base, "status": "in_progress", "content": []}
        done = {**base, "status": "completed", "content": [{"type": "output_audio", "transcript": text}]}
        output = {"response_id": response_id, "output_index": 0}
        place = {**output, "item_id": item_id, "content_index": 0}
        self.server(asked + 0.002, "response.output_item.added", **output, item=begun)
        self._item(asked + 0.003, begun)
        self.server(asked + 0.004, "response.content_part.added", **place, part={"type": "audio", "transcript": ""})
        for index, word in enumerate(_pieces(words)):
            delta = "response.output_audio_transcript.delta"
            self.server(t + 0.001 * (index + 1), delta, **place, delta=word)
        begins = max(t, self._agent_until)
        hz = 600 + 90 * (sum(sound.side == "agent" for sound in self.made.sounds) % 4)
        sound = Sound("agent", begins, begins + tenths / 10, hz)
        self.made.sounds.append(sound)
        self._agent_until = sound.end
        samples = sound.samples(self._wire.agent_rate, tenths / 10)
        for index, piece in enumerate(np.array_split(samples, 3)):
            data = wire(encoded(piece, self._wire.encoding))
            self.server(t + 0.01 * index, "response.output_audio.delta", **place, delta=data)
        t += 0.03
        self.server(t, "response.output_audio.done", **place)
        self.server(t + 0.001, "response.output_audio_transcript.done", **place, transcript=text)
        self.server(t + 0.002, "response.content_part.done", **place, part={"type": "audio", "transcript": text})
        self.server(t + 0.003, "conversation.item.done", previous_item_id=None, item=done)
        self.server(t + 0.004, "response.output_item.done", **output, item=done)
        self.made.said.append(("assistant", words))
        return begins, t + 0.01, done

    def _done(self, t: float, response_id: str, output: list[Event]) -> None:
        number = self._responses
        audio_in, text_in, audio_out, text_out = 10 + number, 20 + number, 5 + number, number
        usage = {
            "input_tokens": audio_in + text_in,
            "output_tokens": audio_out + text_out,
            "total_tokens": audio_in + text_in + audio_out + text_out,
            "input_token_details": {"audio_tokens": audio_in, "text_tokens": text_in},
            "output_token_details": {"audio_tokens": audio_out, "text_tokens": text_out},
        }
        self.made.tokens.update(
            {
                **{f"{side}_tokens": usage[f"{side}_tokens"] for side in ("input", "output", "total")},
                "input_audio_tokens": audio_in,
                "input_text_tokens": text_in,
                "output_audio_tokens": audio_out,
                "output_text_tokens": text_out,
            }
        )
        body = {"id": response_id, "status": "completed", "conversation_id": "conv_1", "output": output, "usage": usage}
        self.server(t, "response.done", response=body)


def _pieces(words: list[str]) -> list[str]:
    return [word if index == 0 else f" {word}" for index, word in enumerate(words)]


def build(plan: Plan) -> Conversation:
    """Returns the conversation of a plan, with its mutations."""
    made = _Builder(plan).made
    for name, mutate in MUTATIONS.items():
        if name in plan.mutations:
            made.steps = sorted(mutate(made.steps), key=lambda step: step.t)
    return made


# Mutations: what servers do differently.

Mutation: TypeAlias = Callable[[list[Step]], list[Step]]

_ITEM_KINDS = ("conversation.item.added", "conversation.item.done")
_OUTPUT_KINDS = (
    "response.output_item.added",
    "response.output_item.done",
    "response.content_part.added",
    "response.content_part.done",
)
_COMPLETED = "conversation.item.input_audio_transcription.completed"
_TRANSCRIPT = "response.output_audio_transcript"


def _without(steps: list[Step], is_dropped: Callable[[Step], bool]) -> list[Step]:
    return [step for step in steps if step.side == "client" or not is_dropped(step)]


def _changed(steps: list[Step], change: Callable[[Event], Event | None]) -> list[Step]:
    """Returns the steps with the server's events changed; None leaves an event as it is."""
    return [replace(step, event=change(step.event) or step.event) if step.side == "server" else step for step in steps]


def _dropping(*kinds: str, role: str | None = None) -> Mutation:
    """Drops the server's events of these types, of one role's items if a role is given."""

    def drops(step: Step) -> bool:
        return step.kind in kinds and (role is None or step.event.get("item", {}).get("role") == role)

    return lambda steps: _without(steps, drops)


def _in_response_done(change: Callable[[Event], Event]) -> Mutation:
    """Changes each ``response.done``."""
    return lambda steps: _changed(steps, lambda event: change(event) if event["type"] == "response.done" else None)


def _all_of(*mutations: Mutation) -> Mutation:
    def mutate(steps: list[Step]) -> list[Step]:
        for mutation in mutations:
            steps = mutation(steps)
        return steps

    return mutate


def _with_beta_names(steps: list[Step]) -> list[Step]:
    names = {ga: beta for beta, ga in BETA_NAMES.items()}
    return _changed(steps, lambda event: {**event, "type": names.get(event["type"], event["type"])})


def _without_output(event: Event) -> Event:
    return {**event, "response": {key: value for key, value in event["response"].items() if key != "output"}}


def _without_content(event: Event) -> Event | None:
    if event["type"] == "response.done":
        output = [
            {key: value for key, value in item.items() if key != "content"}
            for item in event["response"].get("output", [])
        ]
        return {**event, "response": {**event["response"], **({"output": output} if output else {})}}
    item = event.get("item", {})
    return {**event, "item": {**item, "content": []}} if item.get("role") == "assistant" else None


def _usage_renamed(names: dict[str, str]) -> Mutation:
    def rename(event: Event) -> Event:
        usage = {names.get(key, key): value for key, value in event["response"]["usage"].items()}
        return {**event, "response": {**event["response"], "usage": usage}}

    return _in_response_done(rename)


def _usage_beside(event: Event) -> Event:
    return {**event, "usage": event["response"]["usage"], "response": {**event["response"], "usage": None}}


def _split_dones(steps: list[Step]) -> list[Step]:
    """Sends each part's words in one ``.done`` for each word, without deltas and without any other place."""
    found: list[Step] = []
    for step in _no_items(_without(steps, lambda step: step.kind == f"{_TRANSCRIPT}.delta")):
        if step.kind == f"{_TRANSCRIPT}.done":
            words = step.event["transcript"].split()
            found += [replace(step, event={**step.event, "transcript": word}) for word in words]
        else:
            found.append(step)
    return found


def _in_another_order(steps: list[Step]) -> list[Step]:
    """The item's end arrives after ``response.done``, as far as the protocol lets it."""
    late = {"conversation.item.done", "response.output_audio_transcript.done", "response.content_part.done"}
    return [replace(step, t=step.t + 0.05) if step.kind in late else step for step in steps]


def _with_partial_completions(steps: list[Step]) -> list[Step]:
    """Completes each transcription several times: with the first word in progress, then with all."""
    found: list[Step] = []
    for step in steps:
        if step.kind == _COMPLETED:
            first = step.event["transcript"].split()[0]
            partial = {key: value for key, value in step.event.items() if key != "usage"}
            found.append(replace(step, event={**partial, "transcript": first, "status": "in_progress"}))
            found.append(replace(step, event={**step.event, "status": "completed"}))
        else:
            found.append(step)
    return found


def _without_ids(event: Event) -> Event | None:
    if event["type"].startswith(_TRANSCRIPT) or event["type"].startswith("response.output_audio."):
        return {key: value for key, value in event.items() if key not in ("item_id", "output_index", "content_index")}
    return None


def _without_truncate(steps: list[Step]) -> list[Step]:
    """The server truncates by itself: it does not cancel by turn detection, and the client sends nothing."""

    def change(event: Event) -> Event | None:
        session = event.get("session")
        return None if session is None else {**event, "session": _not_interrupting(session)}

    return [step for step in _changed(steps, change) if step.kind != "conversation.item.truncate"]


def _not_interrupting(session: Event) -> Event:
    if "audio" not in session:
        return {**session, "turn_detection": {**session["turn_detection"], "interrupt_response": False}}
    listens = session["audio"]["input"]
    detection = {**listens["turn_detection"], "interrupt_response": False}
    return {**session, "audio": {**session["audio"], "input": {**listens, "turn_detection": detection}}}


def _without_place(event: Event) -> Event | None:
    return {key: value for key, value in event.items() if key != "previous_item_id"}


def _no_items(steps: list[Step]) -> list[Step]:
    """No event of an item of the agent, and no output."""
    steps = _dropping(*_OUTPUT_KINDS)(steps)
    steps = _without(steps, lambda step: step.kind in _ITEM_KINDS and _is_generated(step.event["item"]))
    return _in_response_done(_without_output)(steps)


def _is_generated(item: Event) -> bool:
    return item.get("role") == "assistant" or item["type"] == "function_call"


def _is_typed(event: Event) -> bool:
    content = event.get("item", {}).get("content") or [{}]
    return bool(content[0].get("type") == "input_text")


#: The mutations in the order in which they are made.
MUTATIONS: dict[str, Mutation] = {
    "no conversation.item.done": _dropping("conversation.item.done"),
    "no content parts": _dropping("response.content_part.added", "response.content_part.done"),
    "no output_item events": _dropping(*_OUTPUT_KINDS),
    "no items in the conversation of the agent": _dropping(*_ITEM_KINDS, role="assistant"),
    "no output in response.done": _in_response_done(_without_output),
    "no items and no output": _no_items,
    "no deltas of words": _dropping(f"{_TRANSCRIPT}.delta", "conversation.item.input_audio_transcription.delta"),
    "words in deltas only": _all_of(
        _dropping(f"{_TRANSCRIPT}.done", "response.content_part.done"), lambda steps: _changed(steps, _without_content)
    ),
    "several .done for one part": _split_dones,
    "words and sound without ids": _all_of(_no_items, lambda steps: _changed(steps, _without_ids)),
    "no user items": _all_of(
        _dropping("input_audio_buffer.committed"),
        lambda steps: _without(
            steps,
            lambda step: (
                step.kind in _ITEM_KINDS and step.event["item"].get("role") == "user" and not _is_typed(step.event)
            ),
        ),
    ),
    "no places": lambda steps: _changed(steps, _without_place),
    "no echo of typed items": lambda steps: _without(
        steps, lambda step: step.kind in _ITEM_KINDS and _is_typed(step.event)
    ),
    "no echo of results": lambda steps: _without(
        steps, lambda step: step.kind in _ITEM_KINDS and step.event["item"]["type"] == "function_call_output"
    ),
    "usage with plural names": _usage_renamed(
        {"input_token_details": "input_tokens_details", "output_token_details": "output_tokens_details"}
    ),
    "usage with the names of completions": _usage_renamed(
        {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
    ),
    "usage beside the response": _in_response_done(_usage_beside),
    "ends in another order": _in_another_order,
    "transcriptions completed twice": _with_partial_completions,
    "only the server truncates": _without_truncate,
    "a microphone that is gated": lambda steps: steps,  # see fed()
    "beta names": _with_beta_names,
}
#: Mutations that together leave no event with the agent's words.
_SILENT = ({"no deltas of words", "words in deltas only"}, {"several .done for one part", "words in deltas only"})

GATED = "a microphone that is gated"


def tells_all_words(plan: Plan) -> bool:
    """Returns whether some event of a plan tells each word."""
    return not any(set(plan.mutations).issuperset(row) for row in _SILENT)


def plans() -> st.SearchStrategy[Plan]:
    """Returns a strategy for plans of one to three turns with up to three mutations."""
    mutations = sorted(MUTATIONS)
    wires = sorted(WIRES)
    turns = st.builds(
        Turn,
        typed=st.sampled_from((False, False, False, True)),
        speech=st.integers(4, 9),
        think=st.integers(1, 6),
        answer=st.integers(5, 12),
        tool=st.sampled_from(("none", "none", "silent", "spoken")),
        transcript=st.sampled_from(("during", "early", "late")),
        interrupted=st.booleans(),
        words=st.integers(1, 3),
    )
    return st.builds(
        Plan,
        turns=st.lists(turns, min_size=1, max_size=3).map(tuple),
        wire=st.sampled_from(wires),
        mutations=st.lists(st.sampled_from(mutations), max_size=3, unique=True).map(tuple),
    ).filter(tells_all_words)


# The trace, and what must hold.


def fed(plan: Plan, conversation: Conversation) -> FedSession:
    """Returns the session that took a conversation, with the microphone's chunks, and that has ended."""
    session, audio = FedSession(), WIRES[plan.wire]
    chunks = _microphone(conversation, audio, gated=GATED in plan.mutations)
    steps = [*chunks, *(_in_written_ms(step, chunks) for step in conversation.steps)]
    for step in sorted(steps, key=lambda step: step.t):
        (session.server if step.side == "server" else session.client)(step.event, step.t)
    session.close(conversation.ends)
    return session


def _microphone(conversation: Conversation, audio: Wire, *, gated: bool) -> list[Step]:
    rate = audio.user_rate
    spoken = [sound for sound in conversation.sounds if sound.side == "user"]
    samples = np.zeros(round(conversation.ends * rate), np.int16)
    for sound in spoken:
        begin, chirp = round(sound.begin * rate), sound.samples(rate)
        samples[begin : begin + len(chirp)] = chirp
    size, chunks = round(CHUNK_S * rate), []
    for index in range(len(samples) // size):
        t = round((index + 1) * CHUNK_S, 4)
        is_open = any(sound.begin - GATE_BEFORE_S < t <= sound.end + GATE_AFTER_S for sound in spoken)
        if is_open or not gated:
            data = wire(encoded(samples[index * size : (index + 1) * size], audio.encoding))
            chunks.append(Step(t, "client", {"type": "input_audio_buffer.append", "audio": data}))
    return chunks


def _in_written_ms(step: Step, chunks: list[Step]) -> Step:
    """Returns the step with the times of turn detection in ms of what was written, as servers count."""
    event = dict(step.event)
    for key, padding in (("audio_start_ms", PADDING_MS), ("audio_end_ms", 0)):
        if step.kind.startswith("input_audio_buffer.speech_") and key in event:
            written = sum(min(1.0, max(0.0, (event[key] - chunk.t) / CHUNK_S + 1)) for chunk in chunks) * CHUNK_S
            event[key] = max(0, round(written * 1000) - padding)
    return replace(step, event=event)


def check(plan: Plan) -> None:
    """Asserts everything that must hold for the conversation of a plan."""
    conversation = build(plan)
    session = fed(plan, conversation)
    assert session.guard.count == 0
    assert_words(session, conversation)
    assert_calls(session, conversation)
    assert_tokens(session, conversation)
    assert_sounds(session, conversation)
    assert_latencies(session, conversation)


def assert_words(session: FedSession, conversation: Conversation) -> None:
    """Every word appears once and under its own side, in the order of the conversation."""
    heard = [(each["role"], each["content"].split()) for each in session.end.messages if each["role"] != "tool"]
    words = [(role, word) for role, each in heard for word in each]
    assert words == [(role, word) for role, each in conversation.said for word in each]
    answers = [word for model in session.models for word in model.message["content"].split()]
    assert Counter(answers) == Counter(word for role, word in words if role == "assistant")


def assert_calls(session: FedSession, conversation: Conversation) -> None:
    """Every call stands once in the messages, in the models' answers and among the tools, with its result."""
    assert sorted(tool.call_id for tool in session.tools) == conversation.calls
    for messages in (session.end.messages, [model.message for model in session.models]):
        calls = [call["id"] for message in messages for call in message.get("tool_calls", [])]
        assert sorted(calls) == conversation.calls
    results = [each["tool_call_id"] for each in session.end.messages if each["role"] == "tool"]
    assert results == conversation.calls


def assert_tokens(session: FedSession, conversation: Conversation) -> None:
    """Tokens sum to what was told."""
    told = session.end.metadata
    assert {key: told.get(key) for key in conversation.tokens} == dict(conversation.tokens)


def assert_sounds(session: FedSession, conversation: Conversation) -> None:
    """Each side of the recording is what was sent or played: every sound at its place, and nothing else."""
    for side in ("user", "agent"):
        sounds = [sound for sound in conversation.sounds if sound.side == side]
        if not sounds:
            continue
        rate = session.rate
        recorded = (session.user_sound if side == "user" else session.agent_sound).astype(np.float64)
        for sound in sounds:
            late = _late_by(sound, recorded, rate)
            assert abs(late) <= PLACE_S, f"{sound} stands {late:+.3f} s from its place"
        loud = np.abs(recorded) > 1_000
        for sound in sounds:
            loud[round((sound.begin - PLACE_S) * rate) : round((sound.end + PLACE_S) * rate)] = False
        assert not loud.any(), f"the {side} is heard at {np.flatnonzero(loud)[0] / rate:.2f} s"


def _late_by(sound: Sound, recorded: np.ndarray[Any, np.dtype[np.float64]], rate: int) -> float:
    """Returns by how many seconds a sound is late, by cross-correlation within 60 ms; infinity if it is absent."""
    step = rate // 8_000  # half a step is a small part of a period
    search, wanted = round(0.06 * rate), sound.samples(rate).astype(np.float64)
    begin = round(sound.begin * rate) - search
    around = np.zeros(len(wanted) + 2 * search)
    piece = recorded[max(0, begin) : begin + len(around)]
    around[max(0, -begin) : max(0, -begin) + len(piece)] = piece
    around, wanted = around[::step], wanted[::step]
    fits = np.correlate(around, wanted, "valid")
    best = int(np.argmax(fits))
    energy = float(np.linalg.norm(around[best : best + len(wanted)]) * np.linalg.norm(wanted))
    if not energy or fits[best] / energy < 0.9:
        return float("inf")
    return (best * step - search) / rate


def assert_latencies(session: FedSession, conversation: Conversation) -> None:
    """A latency exists wherever both onsets are audible, and lies near the silence measured between them.

    An interrupted response has the time from the user's first sound to the agent's last one.
    """
    told = {str(model.metadata["response_id"]): model.metadata.get("voice_to_voice_ms") for model in session.models}
    assert set(told) == {step.event["response"]["id"] for step in conversation.steps if step.kind == "response.created"}
    for response_id, silence in conversation.latencies.items():
        latency = told[response_id]
        if silence is None:
            assert latency is None, f"{response_id} has a latency of {latency} ms"
        else:
            assert latency is not None, f"{response_id} has no latency"
            assert abs(latency / 1000 - silence) <= LATENCY_S, f"{response_id}: {latency} ms for {silence:.3f} s"
    reactions = {
        str(each.metadata["response_id"]): each.metadata.get("barge_in_reaction_ms") for each in session.models
    }
    measured = {response_id: ms / 1000 for response_id, ms in reactions.items() if ms is not None}
    assert set(measured) == set(conversation.reactions)
    for response_id, reaction in conversation.reactions.items():
        assert abs(measured[response_id] - reaction) <= LATENCY_S, f"{response_id}: {measured[response_id]} s"
