"""Both channels of the recording: whatever is sent, received, fed and cut becomes writes at one rate.

Pure. The microphone is captured from what is sent, the agent from what is received; a channel that the
application feeds itself is taken from there alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from langsmith_realtime.core.audio.activity import Activity
from langsmith_realtime.core.audio.agent.channel import AgentChannel
from langsmith_realtime.core.audio.agent.playback import Cut
from langsmith_realtime.core.audio.decoding import Decoder, Samples
from langsmith_realtime.core.audio.rates import DelayLine
from langsmith_realtime.core.audio.user.microphone import Microphone
from langsmith_realtime.core.audio.writes import ChannelWrite
from langsmith_realtime.core.protocol.audio_formats import AGENT, PCM16, USER, Format

#: Deltas of a cut reply that are remembered as they came, to know them again when the application feeds them.
MUTED_DELTAS = 100


@dataclass(frozen=True, slots=True)
class _Channels:
    user: Microphone
    agent: AgentChannel
    rate: int


@dataclass(slots=True)  # not frozen: there is one for every chunk, and a frozen one takes four times as long to make
class _Came:
    """When a chunk came (seconds), and what is known of it."""

    t: float
    at: float | None = None
    item_id: str = ""
    muted: bool = False


class _Source:
    """One way sound comes in: brought to the recording's rate, and placed with what it came with."""

    #: After so many seconds without sound, no more of it is waited for.
    PATIENCE = 0.3

    def __init__(self, format: Format, rate: int, place: Callable[[_Came, Samples], None]) -> None:  # noqa: A002
        self.decoder = Decoder(format)
        self._line: DelayLine[_Came] = DelayLine(format.rate, rate)
        self._place = place
        self._latest = 0.0

    def put(self, came: _Came, samples: Samples) -> None:
        self._latest = came.t
        for known, heard in self._line.put(came, samples):
            self._place(known, heard)

    def flush(self) -> None:
        for known, heard in self._line.flush():
            self._place(known, heard)

    @property
    def latest(self) -> float:
        """When the last of it came."""
        return self._latest

    def advance(self, t: float) -> float:
        """Time went on to ``t``; tells up to when all that came has been placed."""
        if t > self._latest + self.PATIENCE:
            self.flush()
        return min((came.t for came in self._line.waiting), default=t)

    def holds(self, item_id: str) -> bool:
        """Whether something of the item is not placed yet."""
        return any(came.item_id == item_id for came in self._line.waiting)


class Tracks:
    """The two channels of one conversation. Times are seconds since its start.

    Sound is in the formats the session says (PCM16 at 24 kHz until it says something), and what the
    application feeds is PCM16 at ``fed_rate`` Hz; ``user_format`` and ``agent_format`` stand above both.

    The recording's rate in Hz is ``rate``, by default the higher of the session's two as they are known
    when the first audio comes, or else that audio's own.
    """

    #: What is sent and received may be told later than what happens beside it, by so many seconds: it comes gathered.
    LATE = 1.2

    def __init__(
        self,
        fed_rate: int = PCM16.rate,
        *,
        user_format: Format | None = None,
        agent_format: Format | None = None,
        rate: int | None = None,
    ) -> None:
        self._fed_format = Format("pcm16", fed_rate)
        self._given = {USER: user_format, AGENT: agent_format}
        self._wanted_rate = rate
        self._formats = {channel: given for channel, given in self._given.items() if given is not None}
        self._sources: dict[tuple[int, bool], _Source] = {}  # by channel, and whether the application feeds it
        self._channels: _Channels | None = None
        self._user_fed = False
        self._muted: deque[Samples] = deque(maxlen=MUTED_DELTAS)
        self._user_source: str | None = None
        self._pending: list[ChannelWrite] = []
        self._activities: dict[int, Activity] = {}

    @property
    def rate(self) -> int | None:
        """Hz; None until the first audio decides it."""
        return None if self._channels is None else self._channels.rate

    @property
    def user_activity(self) -> Activity | None:
        """When the user is audible, as far as is written; None until something of that side is."""
        return self._activities.get(USER)

    @property
    def agent_activity(self) -> Activity | None:
        """When the agent is audible, what is still queued included; None until something of that side is written."""
        return self._activities.get(AGENT)

    @property
    def agent_is_fed(self) -> bool:
        """Whether the application feeds what it plays, which has no item ids."""
        return (AGENT, True) in self._sources

    def set_formats(self, user: Format | None, agent: Format | None) -> None:
        """The session's formats, as far as they are known."""
        for channel, said in ((USER, user), (AGENT, agent)):
            if said is not None and self._given[channel] is None:
                self._formats[channel] = said

    def format(self, channel: int, *, fed: bool = False) -> Format:
        """How sound of a channel is encoded now: what events carry, or what the application feeds."""
        return self._given[channel] or (self._fed_format if fed else self._formats.get(channel, PCM16))

    def user_sent(self, t: float, payload: object) -> float:
        """``input_audio_buffer.append``'s base64 was handed over at ``t``; tells how many milliseconds that are.

        Raises:
            ValueError: the payload is no base64 audio.
        """
        source, _ = self._input(USER)
        samples = source.decoder.decode_base64(payload)
        if not self._user_fed:
            source.put(_Came(t), samples)
            self._collect()
        return len(samples) * 1000 / source.decoder.format.rate

    def agent_received(self, t: float, item_id: str, payload: object, *, muted: bool = False) -> None:
        """``response.output_audio.delta``'s base64 arrived at ``t``; muted speech is not heard.

        Raises:
            ValueError: the payload is no base64 audio.
        """
        source, _ = self._input(AGENT)
        samples = source.decoder.decode_base64(payload)
        if muted:
            self._muted.append(samples)
        else:
            self._muted.clear()
        source.put(_Came(t, item_id=item_id, muted=muted), samples)
        self._collect()

    def user_fed(self, t: float, audio: bytes, at: float | None = None) -> None:
        """The application recorded sound of the user itself, from ``at`` on if it says so.

        With the first of it, all that was captured automatically is taken back.
        """
        source, channels = self._input(USER, fed=True)
        samples = source.decoder.decode(audio)
        if not len(samples):
            return
        if not self._user_fed:
            self._flush(USER)
            self._user_fed = True
            channels.user.restart()
        source.put(_Came(t, at), samples)
        self._collect()

    def agent_fed(self, t: float, audio: bytes, at: float | None = None) -> None:
        """The application played sound of the agent itself, from ``at`` on if it says so.

        With the first of it, all that was captured automatically is taken back.
        """
        source, _ = self._input(AGENT, fed=True)
        samples = source.decoder.decode(audio)
        if at is None and self._is_muted(samples):
            return
        source.put(_Came(t, at), samples)
        self._collect()

    def barge_in(self, t: float) -> list[Cut]:
        """What the agent still had to say at ``t`` is not heard."""
        agent = self._settled_agent()
        if agent is None:
            return []
        cuts = agent.barge_in(t)
        self._collect()
        return cuts

    def truncate(self, t: float, item_id: str, heard_ms: float) -> Cut | None:
        """``conversation.item.truncate`` was sent at ``t``; None when nothing of the item arrived."""
        agent = self._settled_agent()
        if agent is None:
            return None
        cut = agent.truncate(t, item_id, heard_ms)
        self._collect()
        return cut

    def truncate_refused(self, item_id: str) -> Cut | None:
        """The server refused the item's latest truncation; tells how it is cut all the same, if it is."""
        agent = self._settled_agent()
        if agent is None:
            return None
        cut = agent.truncate_refused(item_id)
        self._collect()
        return cut

    def played(self, t: float, item_id: str, ms: float) -> list[Cut]:
        """``ms`` of the item had been played at ``t``; tells which cut items are heard otherwise then."""
        agent = self._agent_with(item_id)
        if agent is None:
            return []
        cuts = agent.played(t, item_id, ms)
        self._collect()
        return cuts

    def server_started(self, t: float, item_ids: Sequence[str]) -> list[Cut]:
        """The server began to play a response's items at ``t``."""
        agent = self._settled_agent()
        if agent is None:
            return []
        cuts = agent.server_started(t, item_ids)
        self._collect()
        return cuts

    def server_stopped(self, t: float, item_ids: Sequence[str]) -> None:
        """The server had played a response's items to their end at ``t``."""
        agent = self._settled_agent()
        if agent is not None:
            agent.server_stopped(t, item_ids)
            self._collect()

    def sources(self) -> dict[str, str]:
        """What the recording was made from, as the root's metadata; nothing for a side that was not recorded.

        ``recording_source`` is the agent's: ``timed_tap``, ``tap``, ``played_positions``, ``server_events`` or
        ``playback_model``, the best that was used; ``recording_source_user`` is ``timed_tap``, ``tap`` or ``sent``.
        """
        if self._channels is None:
            return {}
        said = {"recording_source": self._channels.agent.source, "recording_source_user": self._user_source}
        return {key: source for key, source in said.items() if source is not None}

    def spoken_ms(self, item_id: str) -> float:
        """How many milliseconds of the item's speech arrived, heard or not."""
        agent = self._agent_with(item_id)
        return 0.0 if agent is None else agent.spoken_ms(item_id)

    def heard_ms(self, item_id: str) -> float:
        """How many of them are heard as far as is known: what is still queued counts until it is cut."""
        agent = self._agent_with(item_id)
        return 0.0 if agent is None else agent.heard_ms(item_id)

    def begins(self, item_id: str) -> float | None:
        """When the item's first frame plays, in seconds; None when nothing of it arrived."""
        agent = self._agent_with(item_id)
        return None if agent is None else agent.begins(item_id)

    def playing_until(self, item_id: str) -> float | None:
        """When the last of the item is heard, in seconds; None when nothing of it is."""
        agent = self._agent_with(item_id)
        return None if agent is None else agent.playing_until(item_id)

    def advance(self, t: float) -> None:
        """Time went on to ``t``."""
        if self._channels is None:
            return
        placed_until = t
        for (channel, fed), source in self._sources.items():
            until = source.advance(t if fed else max(source.latest, t - self.LATE))
            if channel == USER and fed == self._user_fed:
                placed_until = min(placed_until, until)
        self._channels.user.advance(placed_until)
        self._collect()

    def close(self, t: float) -> list[Cut]:
        """The conversation ended at ``t``: audio still queued was not heard. All is written then."""
        agent = self._settled_agent()
        if agent is None or self._channels is None:
            return []
        self._flush(USER)
        self._channels.user.close()
        cuts = agent.barge_in(t, final=True)
        self._collect()
        return cuts

    def take_writes(self) -> list[ChannelWrite]:
        """What is to be written since the last call, in order."""
        writes, self._pending = self._pending, []
        return writes

    def _collect(self) -> None:
        """The one place through which every write goes, as it is made."""
        if self._channels is None:
            return
        for channel, writes in ((USER, self._channels.user.take_writes()), (AGENT, self._channels.agent.take_writes())):
            if not writes:
                continue
            self._pending += [ChannelWrite(channel, write) for write in writes]
            for write in writes:
                if channel not in self._activities:
                    self._activities[channel] = Activity(self._channels.rate)
                self._activities[channel].write(write.start, write.samples)

    def _input(self, channel: int, *, fed: bool = False) -> tuple[_Source, _Channels]:
        """Where sound of a channel comes in, in the format it has now."""
        wanted = self.format(channel, fed=fed)
        if self._channels is None:
            rate = max((known.rate for known in self._formats.values()), default=wanted.rate)
            rate = self._wanted_rate or rate
            self._channels = _Channels(Microphone(rate), AgentChannel(rate), rate)
        source = self._sources.get((channel, fed))
        if source is None or (source.decoder.format is not wanted and source.decoder.format != wanted):
            if source is not None:
                source.flush()
            place = self._place_user if channel == USER else self._place_fed if fed else self._place_received
            source = self._sources[channel, fed] = _Source(wanted, self._channels.rate, place)
        return source, self._channels

    def _flush(self, channel: int) -> None:
        """Place what is held back of a channel: something must know all that came."""
        for (known, _), source in self._sources.items():
            if known == channel:
                source.flush()

    def _settled_agent(self) -> AgentChannel | None:
        """The agent's channel, with all that came."""
        self._flush(AGENT)
        return None if self._channels is None else self._channels.agent

    def _agent_with(self, item_id: str) -> AgentChannel | None:
        """The agent's channel, with all that came of the item."""
        if any(source.holds(item_id) for source in self._sources.values()):
            self._flush(AGENT)
        return None if self._channels is None else self._channels.agent

    def _is_muted(self, samples: Samples) -> bool:
        """Whether it is a delta that came after the cut, fed as it arrived: nobody plays it."""
        for index, muted in enumerate(self._muted, 1):
            # Several may have come as one; that both begin with silence tells nothing.
            is_part = len(samples) < len(muted) and bool(samples.any())
            if np.array_equal(muted[: len(samples)] if is_part else muted, samples):
                for _ in range(index):
                    self._muted.popleft()
                if is_part:
                    self._muted.appendleft(muted[len(samples) :])
                return True
        return False

    def _place_user(self, came: _Came, samples: Samples) -> None:
        assert self._channels is not None
        if came.at is None:
            self._channels.user.chunk(came.t, samples)
        else:
            self._channels.user.chunk_at(came.at, samples)
        if len(samples) and self._user_source != "timed_tap":
            self._user_source = "timed_tap" if came.at is not None else "tap" if self._user_fed else "sent"

    def _place_received(self, came: _Came, samples: Samples) -> None:
        assert self._channels is not None
        self._channels.agent.received(came.t, came.item_id, samples, muted=came.muted)

    def _place_fed(self, came: _Came, samples: Samples) -> None:
        assert self._channels is not None
        self._channels.agent.fed(came.t, samples, came.at)
