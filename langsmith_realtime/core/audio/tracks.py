"""Both channels of a recording: turns audio that is sent, received or fed, and cuts of it, into writes at one rate.

Pure. The user's channel is made from the audio sent, the agent's from the deltas received. A channel that the
application feeds (``record_user_audio``, ``record_agent_audio``) is made from the fed audio alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langsmith_realtime.core.audio.activity import Activity
from langsmith_realtime.core.audio.agent.channel import AgentChannel
from langsmith_realtime.core.audio.agent.muted_deltas import MutedDeltas
from langsmith_realtime.core.audio.agent.playback import Cut
from langsmith_realtime.core.audio.decoding import Samples
from langsmith_realtime.core.audio.input_stream import ChunkInfo, InputStream
from langsmith_realtime.core.audio.user.microphone import Microphone
from langsmith_realtime.core.audio.writes import ChannelWrite
from langsmith_realtime.core.protocol.audio_formats import AGENT, PCM16, USER, Format, bytes_per_second, no_format

NO_FORMAT = no_format()


@dataclass(frozen=True, slots=True)
class _Channels:
    user: Microphone
    agent: AgentChannel
    rate: int


class Tracks:
    """The audio of one conversation. Times are seconds since its start.

    Args:
        fed_rate: rate in Hz of the PCM16 audio that the application feeds.
        user_format: format of all audio of the user, instead of the session's and of ``fed_rate``.
        agent_format: format of all audio of the agent, instead of the session's and of ``fed_rate``.
        rate: rate of the recording in Hz. Default: when the first audio arrives, the higher rate of the formats known
            by then, from the session or the arguments above; if none is known, the rate of that audio.
    """

    #: Seconds by which a call about sent or received audio may lag behind other calls, because chunks are coalesced.
    MAX_LAG_S = 1.2

    def __init__(
        self,
        fed_rate: int = PCM16.rate,
        *,
        user_format: Format | None = None,
        agent_format: Format | None = None,
        rate: int | None = None,
    ) -> None:
        self._fed_format = Format("pcm16", fed_rate)
        self._fixed_formats = {USER: user_format, AGENT: agent_format}
        self._fixed_rate = rate
        self._formats = {channel: fixed for channel, fixed in self._fixed_formats.items() if fixed is not None}
        #: Format of the response whose audio arrives from here on; None if it is the session's.
        self.response_format: Format | None = None
        self._streams: dict[tuple[int, bool], InputStream] = {}  # by channel, and whether the application feeds it
        self._channels: _Channels | None = None
        self._user_is_fed = False
        self._muted_deltas = MutedDeltas()
        self._user_source: str | None = None
        self._writes: list[ChannelWrite] = []
        self._activities: dict[int, Activity] = {}
        self._assumptions: dict[str, str] = {}  # of streams that ended, by metadata key

    @property
    def rate(self) -> int | None:
        """Rate of the recording in Hz; None before the first audio."""
        return None if self._channels is None else self._channels.rate

    @property
    def user_activity(self) -> Activity | None:
        """When the user is audible, in the audio written so far; None before the first write."""
        return self._activities.get(USER)

    @property
    def agent_activity(self) -> Activity | None:
        """When the agent is audible, in the audio written so far (queued audio too); None before the first write."""
        return self._activities.get(AGENT)

    @property
    def has_user_audio(self) -> bool:
        """Whether any audio of the user has arrived, written or not."""
        return any(channel == USER for channel, _ in self._streams)

    @property
    def agent_is_fed(self) -> bool:
        """Whether the application feeds the agent's audio. Fed audio has no item ids."""
        return (AGENT, True) in self._streams

    def set_formats(self, user: Format | None, agent: Format | None) -> None:
        """Set the session's formats. None leaves a format as it is; ``user_format`` and ``agent_format`` prevail."""
        for channel, session_format in ((USER, user), (AGENT, agent)):
            if session_format is not None and self._fixed_formats[channel] is None:
                self._formats[channel] = session_format
                stream = self._streams.get((channel, False))
                if stream is not None and stream.decoder.format == session_format:
                    stream.decoder.format = session_format  # it may confirm what was assumed before

    def format(self, channel: int, *, fed: bool = False) -> Format:
        """Return the current format of a channel, in events or, if ``fed``, of the audio that the application feeds."""
        fixed = self._fixed_formats[channel]
        if fixed is not None or fed:
            return fixed or self._fed_format
        return (self.response_format if channel == AGENT else None) or self._formats.get(channel, NO_FORMAT)

    def user_sent(self, t: float, payload: bytes | str) -> float:
        """Add the audio of an ``input_audio_buffer.append`` sent at ``t``.

        If the application feeds the user's audio, this only returns the length.

        Args:
            t: when it was sent.
            payload: the event's audio, as bytes or as base64 text.

        Returns:
            Length of the audio in ms.

        Raises:
            ValueError: the text is not base64, or the sound is compressed.
        """
        stream, _ = self._input(USER)
        samples = stream.decoder.decode_payload(payload)
        if not self._user_is_fed:
            stream.add(ChunkInfo(t), samples)
            self._collect()
        return len(samples) * 1000 / stream.decoder.format.rate

    def agent_received(self, t: float, item_id: str, payload: bytes | str, *, muted: bool = False) -> None:
        """Add the audio of a ``response.output_audio.delta`` received at ``t``.

        Args:
            t: when it was received.
            item_id: item of the delta.
            payload: the event's audio, as bytes or as base64 text.
            muted: the response was interrupted, so the client does not play this delta.

        Raises:
            ValueError: the text is not base64, or the sound is compressed.
        """
        stream, _ = self._input(AGENT)
        samples = stream.decoder.decode_payload(payload)
        own = self.response_format
        if own is not None and own.assumption and self._fixed_formats[AGENT] is None:
            self._assumptions["agent_format_assumed"] = own.assumption
        if muted:
            self._muted_deltas.add(samples)
        else:
            self._muted_deltas.clear()
        stream.add(ChunkInfo(t, item_id=item_id, is_muted=muted), samples)
        self._collect()

    def user_fed(self, t: float, audio: bytes, at: float | None = None) -> None:
        """Add audio of the user that the application feeds. The first fed audio erases all audio sent before.

        Args:
            t: when the application fed it.
            audio: bytes in the format ``format(USER, fed=True)``.
            at: when the first frame was captured; None if the application does not say.
        """
        stream, channels = self._input(USER, fed=True)
        samples = stream.decoder.decode(audio)
        if not len(samples):
            return
        if not self._user_is_fed:
            self._flush(USER)
            self._user_is_fed = True
            channels.user.erase()
        stream.add(ChunkInfo(t, at), samples)
        self._collect()

    def agent_fed(self, t: float, audio: bytes, at: float | None = None) -> None:
        """Add audio of the agent that the application feeds. The first fed audio erases all audio received before.

        Audio without a time is ignored if it equals a delta received as ``muted``, or the start of one: no player plays
        it.

        Args:
            t: when the application fed it.
            audio: bytes in the format ``format(AGENT, fed=True)``.
            at: when the first frame was played; None if the application does not say.
        """
        stream, _ = self._input(AGENT, fed=True)
        samples = stream.decoder.decode(audio)
        if at is None and self._muted_deltas.remove(samples):
            return
        stream.add(ChunkInfo(t, at), samples)
        self._collect()

    def barge_in(self, t: float) -> list[Cut]:
        """Cut all audio of the agent that is queued at ``t``, and return a cut for each item that this shortens."""
        agent = self._complete_agent()
        if agent is None:
            return []
        cuts = agent.barge_in(t)
        self._collect()
        return cuts

    def truncate(self, t: float, item_id: str, heard_ms: float) -> Cut | None:
        """Apply a ``conversation.item.truncate`` sent at ``t``; return the cut, None if the item has no audio so far.

        Args:
            t: when it was sent.
            item_id: item that it truncates.
            heard_ms: its ``audio_end_ms``, the milliseconds of the item that were played.
        """
        agent = self._complete_agent()
        if agent is None:
            return None
        cut = agent.truncate(t, item_id, heard_ms)
        self._collect()
        return cut

    def undo_truncation(self, item_id: str) -> Cut | None:
        """Undo the last truncation of an item, which the server refused.

        Return the cut that remains, by an earlier truncation or a barge-in; None if there is none.
        """
        agent = self._complete_agent()
        if agent is None:
            return None
        cut = agent.undo_truncation(item_id)
        self._collect()
        return cut

    def played(self, t: float, item_id: str, ms: float) -> list[Cut]:
        """Apply a playback position: ``ms`` of the item had been played at ``t``. Return the cuts that this changes.

        It is ignored if the application feeds the agent's audio.
        """
        agent = self._agent_with(item_id)
        if agent is None:
            return []
        cuts = agent.played(t, item_id, ms)
        self._collect()
        return cuts

    def server_started(self, t: float, item_ids: Sequence[str]) -> list[Cut]:
        """Apply ``output_audio_buffer.started`` of a response: the first of its items that has audio began at ``t``.

        It is ignored if the application feeds the agent's audio.

        Returns:
            The cuts that this changes.
        """
        agent = self._complete_agent()
        if agent is None:
            return []
        cuts = agent.server_started(t, item_ids)
        self._collect()
        return cuts

    def server_stopped(self, t: float, item_ids: Sequence[str]) -> None:
        """Apply ``output_audio_buffer.stopped`` of a response: its items had been played to their end at ``t``.

        It is ignored if the application feeds the agent's audio.
        """
        agent = self._complete_agent()
        if agent is not None:
            agent.server_stopped(t, item_ids)
            self._collect()

    def sources(self) -> dict[str, str]:
        """Return metadata of the root run on how the recording was made; no key for a channel without audio.

        ``recording_source`` is the best source of the agent's channel: ``timed_tap`` (fed with times), ``tap`` (fed
        without), ``played_positions``, ``server_events`` or ``playback_model``. ``recording_source_user`` is
        ``timed_tap``, ``tap`` or ``sent``.
        """
        if self._channels is None:
            return {}
        sources = {"recording_source": self._channels.agent.source, "recording_source_user": self._user_source}
        return {key: source for key, source in sources.items() if source is not None}

    def assumptions(self) -> dict[str, str | int]:
        """Return metadata of the root run on what was assumed of the audio, and on what contradicts it.

        ``user_format_assumed`` and ``agent_format_assumed``: the format that was assumed, and why. ``user_clock`` and
        ``agent_clock``: a stream of evenly spaced chunks ran well ahead of its clock or behind it, so its rate is
        probably not the one it was read with. ``ignored_positions``: how many playback positions cannot be true. A key
        is absent if there is nothing to say.
        """
        said: dict[str, str | int] = dict(self._assumptions)
        for (channel, _), stream in self._streams.items():
            said.update(_assumptions_of(channel, stream))
        ignored = 0 if self._channels is None else self._channels.agent.ignored_positions
        return said | ({"ignored_positions": ignored} if ignored else {})

    def spoken_ms(self, item_id: str) -> float:
        """Return how many milliseconds of the item's audio have arrived, heard or not."""
        agent = self._agent_with(item_id)
        return 0.0 if agent is None else agent.spoken_ms(item_id)

    def heard_ms(self, item_id: str) -> float:
        """Return how many milliseconds of the item the user heard. Queued audio counts as heard until it is cut."""
        agent = self._agent_with(item_id)
        return 0.0 if agent is None else agent.heard_ms(item_id)

    def begins(self, item_id: str) -> float | None:
        """Return when the item's first frame plays, in seconds; None if no audio of it has arrived."""
        agent = self._agent_with(item_id)
        return None if agent is None else agent.begins(item_id)

    def playing_until(self, item_id: str) -> float | None:
        """Return when the item's last heard frame ends, in seconds; None if none of its frames is heard."""
        agent = self._agent_with(item_id)
        return None if agent is None else agent.playing_until(item_id)

    def advance(self, t: float) -> None:
        """Place the user's audio that no later call can move, and audio that a resampler held back before a pause."""
        if self._channels is None:
            return
        placed_until = t
        for (channel, fed), stream in self._streams.items():
            until = stream.advance(t if fed else max(stream.last_arrival, t - self.MAX_LAG_S))
            if channel == USER and fed == self._user_is_fed:
                placed_until = min(placed_until, until)
        self._channels.user.advance(placed_until)
        self._collect()

    def close(self, t: float) -> list[Cut]:
        """End the conversation at ``t``: place all audio, cut the agent's queued audio, and return the cuts."""
        agent = self._complete_agent()
        if agent is None or self._channels is None:
            return []
        self._flush(USER)
        self._channels.user.close()
        cuts = agent.barge_in(t, final=True)
        self._collect()
        return cuts

    def take_writes(self) -> list[ChannelWrite]:
        """Return the writes since the last call, in order."""
        writes, self._writes = self._writes, []
        return writes

    def _collect(self) -> None:
        """Take the writes of both channels, for the recorder and to measure activity."""
        if self._channels is None:
            return
        for channel, writes in ((USER, self._channels.user.take_writes()), (AGENT, self._channels.agent.take_writes())):
            if not writes:
                continue
            self._writes += [ChannelWrite(channel, write) for write in writes]
            for write in writes:
                if channel not in self._activities:
                    self._activities[channel] = Activity(self._channels.rate)
                self._activities[channel].write(write.start, write.samples)

    def _input(self, channel: int, *, fed: bool = False) -> tuple[InputStream, _Channels]:
        """Return the input stream of a channel in its current format; create stream and channels where needed."""
        wanted = self.format(channel, fed=fed)
        if self._channels is None:
            rate = max((known.rate for known in self._formats.values()), default=wanted.rate)
            rate = self._fixed_rate or rate
            self._channels = _Channels(Microphone(rate), AgentChannel(rate), rate)
        stream = self._streams.get((channel, fed))
        if stream is None or (stream.decoder.format is not wanted and stream.decoder.format != wanted):
            if stream is not None:
                stream.flush()
                self._assumptions.update(_assumptions_of(channel, stream))
            place = self._place_user if channel == USER else self._place_fed if fed else self._place_received
            stream = self._streams[channel, fed] = InputStream(
                wanted, self._channels.rate, place, may_run_ahead=channel == AGENT
            )
        return stream, self._channels

    def _flush(self, channel: int) -> None:
        """Place all audio of a channel that its resamplers hold back."""
        for (stream_channel, _), stream in self._streams.items():
            if stream_channel == channel:
                stream.flush()

    def _complete_agent(self) -> AgentChannel | None:
        """Return the agent's channel with all audio that has arrived; None before the first audio of either channel."""
        self._flush(AGENT)
        return None if self._channels is None else self._channels.agent

    def _agent_with(self, item_id: str) -> AgentChannel | None:
        """Return the agent's channel with all audio of an item that has arrived; None before any audio."""
        if any(stream.has_pending(item_id) for stream in self._streams.values()):
            self._flush(AGENT)
        return None if self._channels is None else self._channels.agent

    def _place_user(self, chunk: ChunkInfo, samples: Samples) -> None:
        assert self._channels is not None
        if chunk.at is None:
            self._channels.user.add(chunk.arrival, samples)
        else:
            self._channels.user.add_timed(chunk.at, samples)
        if len(samples) and self._user_source != "timed_tap":
            self._user_source = "timed_tap" if chunk.at is not None else "tap" if self._user_is_fed else "sent"

    def _place_received(self, chunk: ChunkInfo, samples: Samples) -> None:
        assert self._channels is not None
        self._channels.agent.received(chunk.arrival, chunk.item_id, samples, muted=chunk.is_muted)

    def _place_fed(self, chunk: ChunkInfo, samples: Samples) -> None:
        assert self._channels is not None
        self._channels.agent.fed(chunk.arrival, samples, chunk.at)


def _assumptions_of(channel: int, stream: InputStream) -> dict[str, str]:
    """What :meth:`Tracks.assumptions` says of one stream."""
    side, audio_format, speed = ("agent" if channel == AGENT else "user"), stream.decoder.format, stream.clock.speed
    said = {f"{side}_format_assumed": stream.decoder.assumption} if stream.decoder.assumption else {}
    if speed is not None:
        expected = bytes_per_second(audio_format)
        said[f"{side}_clock"] = (
            f"{round(speed * expected)} bytes came in a second, {audio_format.encoding} at {audio_format.rate} Hz has "
            f"{expected}: the rate or the encoding may be another"
        )
    return said
