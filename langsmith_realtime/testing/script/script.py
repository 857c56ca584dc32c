"""The script of a server as data: turns, the steps of a turn, and settings of the server.

Each response of the server follows the next turn of the `Script`. All classes are frozen dataclasses, so that servers
and tests can share a script.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, TypeAlias, get_args

Event: TypeAlias = dict[str, Any]
"""One event of the Realtime API, as the JSON object on the wire."""

DialectName: TypeAlias = Literal["ga", "beta", "voice_live", "xai", "qwen_omni", "speech_to_speech", "vllm"]
"""The servers that a script can imitate; ``testing/state/dialect.py`` has the row of each, docs/servers.md the list."""


@dataclass(frozen=True)
class Say:
    """A message of the agent: audio with the transcript `text`, or only `text` if the response's modality is text.

    `audio` is PCM16, 24 kHz, mono. Without `audio` the server synthesizes speech-like audio that lasts `seconds`
    (default: one second for fifteen characters, at least 0.4 s). `phase` is the field of that name that newer models
    add to messages (``commentary``, ``final_answer``).
    """

    text: str
    audio: bytes | None = None
    seconds: float | None = None
    phase: str | None = None

    @property
    def duration(self) -> float:
        """Length of the synthesized audio in seconds."""
        return max(0.4, len(self.text) / 15) if self.seconds is None else self.seconds


@dataclass(frozen=True)
class Call:
    """A function call. `arguments` is a mapping, or a string that is sent as it is, even if it is not JSON."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    call_id: str | None = None


@dataclass(frozen=True)
class McpCall:
    """A call of an MCP tool, which the Realtime server makes itself: the client receives only the events of the call.

    The call ends with `output`, or with `error`, the item's ``error`` object, for example
    ``{"type": "http_error", "code": 500, "message": "…"}``. The call takes `seconds`. With `outlives_response` these
    seconds begin at ``response.done``, so that the result arrives after the end of the response.
    """

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    _: KW_ONLY
    output: str = ""
    error: Mapping[str, Any] | None = None
    server_label: str = "mcp"
    seconds: float = 0.1
    outlives_response: bool = False


@dataclass(frozen=True)
class McpServer:
    """An MCP server with the `label` that a session's tools name.

    The Realtime server lists its `tools` when a session first names the label. Listing takes `seconds`; with `fails`
    listing fails.
    """

    label: str
    tools: Sequence[Mapping[str, Any]] = ()
    seconds: float = 0.1
    fails: bool = False


@dataclass(frozen=True)
class Emit:
    """Send `event` as it is. The server adds an ``event_id`` if the event has none; ``"event_id": None`` removes it."""

    event: Mapping[str, Any]


@dataclass(frozen=True)
class Raw:
    """Send a frame with any content: `data` as a text frame if it is a string, as a binary frame if it is bytes."""

    data: str | bytes


@dataclass(frozen=True)
class Dtmf:
    """Send ``input_audio_buffer.dtmf_event_received`` for a telephone key: ``0``–``9``, ``*``, ``#`` or ``A``–``D``."""

    key: str


@dataclass(frozen=True)
class Pause:
    """Wait `seconds` before the next step."""

    seconds: float


@dataclass(frozen=True)
class Fail:
    """End the response as ``failed``, with an error of this `code`, `message` and `type`."""

    code: str | None = "server_error"
    message: str = "The server had an error while processing your request."
    type: str = "server_error"


@dataclass(frozen=True)
class Incomplete:
    """End the response as ``incomplete``; the last item before this step is incomplete, too."""

    reason: Literal["max_output_tokens", "content_filter"] = "max_output_tokens"


@dataclass(frozen=True)
class Close:
    """Close the connection with a close frame."""

    code: int = 1000
    reason: str = ""


@dataclass(frozen=True)
class Drop:
    """End the connection without a close frame; with `mid_frame`, after the beginning of a frame."""

    mid_frame: bool = False


Action: TypeAlias = Emit | Raw | Dtmf | Pause | Close | Drop
"""A step that is possible at any time: in a turn, after a turn, and when a client connects."""
Step: TypeAlias = Say | Call | McpCall | Fail | Incomplete | Action
"""A step that is possible within a response."""


@dataclass(frozen=True, init=False)
class Turn:
    """One response: its `steps` in order.

    `think` is the time from ``response.created`` to the first output, in seconds. The actions in `then` follow
    ``response.done`` and ``rate_limits.updated``. `usage` is the usage in ``response.done``; without it the server
    counts tokens.
    """

    steps: tuple[Step, ...]
    think: float
    then: tuple[Action, ...]
    usage: Mapping[str, Any] | None

    def __init__(
        self, *steps: Step, think: float = 0.0, then: Sequence[Action] = (), usage: Mapping[str, Any] | None = None
    ) -> None:
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "think", think)
        object.__setattr__(self, "then", tuple(then))
        object.__setattr__(self, "usage", usage)


@dataclass(frozen=True)
class UserTranscript:
    """The transcript of one committed user item.

    `when` says when the transcription completes: ``early``: before the response begins, with deltas while the user
    speaks; ``during``: while the response is generated, or soon after a commit that starts no response; ``after``:
    after the next ``response.done``.
    `streamed` says how the deltas arrive: True: one for each word; ``whole``: one delta; False: no delta.
    `usage` is the kind of usage in ``completed``: ``duration``, ``tokens`` or None for no usage.
    With `error`, the transcription fails with this message and has no deltas.
    """

    text: str
    when: Literal["early", "during", "after"] = "during"
    streamed: bool | Literal["whole"] = True
    usage: Literal["duration", "tokens"] | None = "duration"
    error: str | None = None


@dataclass(frozen=True)
class Script:
    """The behaviour of a server.

    turns
        The turns in order, one for each response.
    afterwards
        The turn of every response after the last of `turns`.
    user_transcripts
        The transcripts in order, one for each committed user item, if the session has a transcription model. A string
        is ``UserTranscript(string)``. Items after the last transcript have an empty transcript.
    speed
        Seconds of audio that the server sends in one second; 0 or infinity sends all audio at once.
    chunk_ms
        Shortest and longest audio in one delta, in milliseconds. The last delta of a message may be shorter.
    odd_splits
        Whether audio deltas have an odd number of bytes, so that a sample is split between two deltas.
    overlap_items
        Whether an item of a response begins before the previous item is done, as with newer OpenAI models.
    speech_started_first
        Whether ``input_audio_buffer.speech_started`` at a barge-in precedes the response's end (as with OpenAI) or
        follows it (as with other servers).
    rate_limits
        Whether the server sends ``rate_limits.updated`` after each ``response.done``.
    session_created
        Whether the server sends ``session.created`` when a client connects.
    session
        Changes to the session's defaults, in the shape of ``session`` in a ``session.update``.
    session_seconds
        Longest duration of a session in seconds; OpenAI's is 60 minutes. At the end the server sends the error
        ``session_expired`` and closes the connection with code 1001.
    mcp_servers
        The MCP servers that a client may name in the session's tools as ``{"type": "mcp", "server_label": …}``.
        Listing the tools of any other MCP server fails.
    dialect
        The server that it imitates, a :data:`DialectName`: ``ga`` is OpenAI's present API, ``beta`` its beta API.
        `session` has the dialect's shape.
    on_connect
        Actions that follow ``session.created``.
    seed
        Seed of the generated ids, which makes them equal in every run. The sizes of audio deltas are equal in every
        run without a seed, too.
    """

    turns: Sequence[Turn] = ()
    _: KW_ONLY
    afterwards: Turn = field(default_factory=lambda: Turn(Say("All right.")))
    user_transcripts: Sequence[str | UserTranscript] = ()
    speed: float = 8.0
    chunk_ms: tuple[int, int] = (40, 200)
    odd_splits: bool = False
    overlap_items: bool = True
    speech_started_first: bool = True
    rate_limits: bool = True
    session_created: bool = True
    session: Mapping[str, Any] = field(default_factory=dict)
    session_seconds: float = 3600.0
    mcp_servers: Sequence[McpServer] = ()
    dialect: DialectName = "ga"
    on_connect: Sequence[Action] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.speed < 0:
            raise ValueError(f"speed must be 0 or greater, got {self.speed}")
        shortest, longest = self.chunk_ms
        if not 1 <= shortest <= longest:
            raise ValueError(f"chunk_ms must be (shortest, longest) with 1 <= shortest <= longest, got {self.chunk_ms}")
        if not 0 < self.session_seconds < math.inf:
            raise ValueError(f"session_seconds must be positive and finite, got {self.session_seconds}")
        if self.dialect not in get_args(DialectName):
            supported = ", ".join(repr(name) for name in get_args(DialectName))
            raise ValueError(f"dialect must be one of {supported}, got {self.dialect!r}")

    def pace(self, seconds_of_audio: float) -> float:
        """Return the seconds in which the server sends `seconds_of_audio` of audio, by `speed`."""
        return 0.0 if self.speed == 0 or math.isinf(self.speed) else seconds_of_audio / self.speed
