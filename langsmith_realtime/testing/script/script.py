"""What a scripted server will do, as data.

A `Script` is a list of turns; each response the server gives takes the next one. Everything is a frozen
dataclass, so a script can be built once and shared by many servers and tests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, TypeAlias

Event: TypeAlias = dict[str, Any]
"""One event of the Realtime API, as the JSON object it is on the wire."""


@dataclass(frozen=True)
class Say:
    """A message of the agent: spoken, or written when the response's modality is text.

    `audio` is PCM16, 24 kHz, mono; without it a speech-like sound of `seconds` is made from the text
    (default: fifteen characters a second, at least 0.4 s). `phase` is the untyped field that newer models
    put on messages (``commentary``, ``final_answer``).
    """

    text: str
    audio: bytes | None = None
    seconds: float | None = None
    phase: str | None = None

    @property
    def duration(self) -> float:
        """Seconds of speech to make when no `audio` is given."""
        return max(0.4, len(self.text) / 15) if self.seconds is None else self.seconds


@dataclass(frozen=True)
class Call:
    """A function call. `arguments` is a mapping, or the JSON text itself (also where it is not valid JSON)."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    call_id: str | None = None


@dataclass(frozen=True)
class McpCall:
    """A call that the server itself makes to an MCP server (a client only watches): its `output`, or its `error`.

    `error` is the item's ``error`` object, ``{"type": "http_error", "code": 500, "message": "…"}`` say. The call
    takes `seconds`. With `outlives_response` these begin at ``response.done``, so that the result comes after it.
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
    """An MCP server that the Realtime server can reach: what happens when a session names its label as a tool.

    Its `tools` are listed within `seconds`; with `fails` the listing fails.
    """

    label: str
    tools: Sequence[Mapping[str, Any]] = ()
    seconds: float = 0.1
    fails: bool = False


@dataclass(frozen=True)
class Emit:
    """Send this event as it is; an ``event_id`` is added unless it has one, or it is None."""

    event: Mapping[str, Any]


@dataclass(frozen=True)
class Raw:
    """Send a frame that need be no event: text as a text frame, bytes as a binary one."""

    data: str | bytes


@dataclass(frozen=True)
class Dtmf:
    """A key is pressed on the telephone: one of ``0``–``9``, ``*``, ``#``, ``A``–``D``."""

    key: str


@dataclass(frozen=True)
class Pause:
    """Say nothing for `seconds`."""

    seconds: float


@dataclass(frozen=True)
class Fail:
    """End the response as ``failed``."""

    code: str | None = "server_error"
    message: str = "The server had an error while processing your request."
    type: str = "server_error"


@dataclass(frozen=True)
class Incomplete:
    """End the response as ``incomplete``; the item before this step stays incomplete too."""

    reason: Literal["max_output_tokens", "content_filter"] = "max_output_tokens"


@dataclass(frozen=True)
class Close:
    """Close the connection with a close frame."""

    code: int = 1000
    reason: str = ""


@dataclass(frozen=True)
class Drop:
    """Cut the connection without a close frame, `mid_frame` after half a frame was sent."""

    mid_frame: bool = False


Action: TypeAlias = Emit | Raw | Dtmf | Pause | Close | Drop
"""What can be done at any time."""
Step: TypeAlias = Say | Call | McpCall | Fail | Incomplete | Action
"""What can be done within a response."""


@dataclass(frozen=True, init=False)
class Turn:
    """One response: its steps in order.

    `think` is the time in seconds from ``response.created`` to the first output. `then` is done after
    ``response.done`` (and ``rate_limits.updated``). `usage` replaces the usage that is otherwise counted.
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
    """What the server will claim the user said in one committed piece of audio.

    `when` it is complete: ``early`` – before the response begins, its deltas while the user is still speaking;
    ``during`` – while the response is being generated; ``after`` – after ``response.done``. `streamed` word by
    word, ``whole`` – in one delta – or in none. `usage` is counted by ``duration``, by ``tokens``, or missing. With
    `error` the transcription fails, with this message.
    """

    text: str
    when: Literal["early", "during", "after"] = "during"
    streamed: bool | Literal["whole"] = True
    usage: Literal["duration", "tokens"] | None = "duration"
    error: str | None = None


@dataclass(frozen=True)
class Script:
    """How a server behaves.

    turns
        One for each response. When they run out, `afterwards` is used again and again.
    user_transcripts
        One for each committed piece of user audio, if the client configured transcription; a plain string is
        ``UserTranscript(string)``. When they run out the transcript is empty.
    speed
        How many seconds of audio are sent in one second; 0 or infinity sends everything at once.
    chunk_ms
        Shortest and longest piece of audio in one delta, in milliseconds.
    odd_splits
        Give audio deltas an odd number of bytes, so that samples are torn apart between them.
    overlap_items
        In a response of several items, begin the next item before the one before is done, as newer OpenAI
        models do; otherwise one item after the other.
    speech_started_first
        At a barge-in, announce the speech before the response's end (OpenAI), or after it (other servers).
    rate_limits
        Send ``rate_limits.updated`` after each ``response.done``.
    session_created
        Send ``session.created`` when a client connects.
    session
        Changes the session's defaults; the same shape as the ``session`` of a ``session.update``.
    session_seconds
        How long a session may last, 60 minutes at OpenAI. Then comes the error ``session_expired``, and close 1001.
    mcp_servers
        What a client may name in the session's tools as ``{"type": "mcp", "server_label": …}``. The tools of one
        that is not here cannot be listed.
    dialect
        ``beta``: the names and shapes that Azure Voice Live still speaks. `session` has that shape too then.
    on_connect
        Done after ``session.created``.
    seed
        Makes the ids and the splits of the audio the same on every run. The splits are so anyway.
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
    dialect: Literal["ga", "beta"] = "ga"
    on_connect: Sequence[Action] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.speed < 0:
            raise ValueError(f"speed must not be negative, got {self.speed}")
        shortest, longest = self.chunk_ms
        if not 1 <= shortest <= longest:
            raise ValueError(f"chunk_ms must be (shortest, longest) with at least 1 ms, got {self.chunk_ms}")
        if not 0 < self.session_seconds < math.inf:
            raise ValueError(f"session_seconds must be positive and finite, got {self.session_seconds}")
        if self.dialect not in ("ga", "beta"):
            raise ValueError(f"dialect must be 'ga' or 'beta', got {self.dialect!r}")

    def pace(self, seconds_of_audio: float) -> float:
        """How many seconds it takes to send this much audio."""
        return 0.0 if self.speed == 0 or math.isinf(self.speed) else seconds_of_audio / self.speed
