"""Both channels of the recording: whatever is sent, received, fed and cut becomes writes at one rate.

Pure. The microphone is captured from what is sent, the agent from what is received; a channel that the
application feeds itself is taken from there alone.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from langsmith_realtime.audio.formats import PCM16, Decoder, Format, Samples
from langsmith_realtime.audio.playback import Cut, Playback
from langsmith_realtime.audio.timeline import Microphone, Timed, Write, silence

USER, AGENT = 0, 1
#: Deltas of a cut reply that are remembered, to know them again when the application feeds them.
MUTED_DELTAS = 100


@dataclass(frozen=True, slots=True)
class ChannelWrite:
    """A :class:`Write` on channel 0 (left, the user) or 1 (right, the agent)."""

    channel: int
    write: Write


class AgentChannel:
    """The agent's side: received speech as a client plays it, or what the application says it played."""

    def __init__(self, rate: int) -> None:
        self._received = Playback(rate)
        self._fed: Playback | None = None
        self._timed = Timed(rate)
        self._rate = rate
        # What is fed has no item ids: a segment is what was fed between two cuts.
        self._segment = 0
        self._segment_ended = False
        self._segment_of: dict[str, str] = {}  # of the items that were cut
        self._muted: deque[Samples] = deque(maxlen=MUTED_DELTAS)
        self._writes: list[Write] = []

    def received(self, t: float, item_id: str, samples: Samples, *, muted: bool = False) -> None:
        if muted:
            self._received.mute(t, item_id)
            self._muted.append(samples)
        else:
            self._muted.clear()
        self._received.chunk(t, item_id, samples)
        self._collect()

    def fed(self, t: float, samples: Samples, at: float | None) -> None:
        if not len(samples):
            return
        if self._fed is None:
            self._fed = Playback(self._rate)
            if self._received.written_until:
                self._writes.append(Write(0, silence(self._received.written_until)))
        if at is None and self._is_muted(samples):
            return
        if at is None:
            self._segment += self._segment_ended
            self._segment_ended = False
            self._fed.chunk(t, str(self._segment), samples)
        else:
            self._writes.append(self._timed.place(at, samples))
        self._collect()

    def barge_in(self, t: float, *, final: bool = False) -> list[Cut]:
        cuts = self._received.cut(t, final=final)
        if self._fed is not None:
            self._fed.cut(t, final=final)
            for cut in cuts:
                self._end_segment(cut.item_id)
            self._segment_ended = True
        self._collect()
        return cuts

    def truncate(self, t: float, item_id: str, heard_ms: float) -> Cut | None:
        cut = self._received.truncate(t, item_id, heard_ms)
        if self._fed is not None:
            segment, begins = self._end_segment(item_id), self._received.begins(item_id)
            if begins is None:
                heard_ms = self._fed.played_ms(segment, t)
            else:
                heard_ms += self._fed.played_ms(segment, begins)
            self._fed.truncate(t, segment, heard_ms)
        self._collect()
        return cut

    def truncate_refused(self, item_id: str) -> Cut | None:
        cut = self._received.truncation_refused(item_id)
        if self._fed is not None and item_id in self._segment_of:
            self._fed.truncation_refused(self._segment_of[item_id])
        self._collect()
        return cut

    def playing_until(self, item_id: str) -> float | None:
        return self._received.playing_until(item_id)

    def take_writes(self) -> list[Write]:
        writes, self._writes = self._writes, []
        return writes

    def _is_muted(self, samples: Samples) -> bool:
        """Whether it is a delta that came after the cut, fed as it arrived: nobody plays it."""
        for index, muted in enumerate(self._muted, 1):
            if np.array_equal(muted, samples):
                for _ in range(index):
                    self._muted.popleft()
                return True
        return False

    def _end_segment(self, item_id: str) -> str:
        """The segment in which the item was cut; by default the one that is fed now, or was last."""
        segment = self._segment_of.setdefault(item_id, str(self._segment))
        self._segment_ended = self._segment_ended or segment == str(self._segment)
        return segment

    def _collect(self) -> None:
        if self._fed is None:
            self._writes += self._received.writes
        else:
            self._writes += self._fed.writes
            self._fed.writes.clear()
        self._received.writes.clear()


@dataclass(frozen=True, slots=True)
class _Channels:
    user: Microphone
    agent: AgentChannel
    rate: int


class Tracks:
    """The two channels of one conversation. Times are seconds since its start.

    The recording's rate is the higher of the session's two as they are known when the first audio
    comes, or else that audio's own.
    """

    def __init__(self, fed_rate: int = PCM16.rate) -> None:
        self._fed_rate = fed_rate
        self._formats: dict[int, Format] = {}
        self._decoders: dict[tuple[int, bool], Decoder] = {}
        self._channels: _Channels | None = None
        self._user_fed = False

    @property
    def rate(self) -> int | None:
        """Hz; None until the first audio decides it."""
        return None if self._channels is None else self._channels.rate

    def set_formats(self, user: Format | None, agent: Format | None) -> None:
        """The session's formats, as far as they are known."""
        self._formats.update({channel: f for channel, f in ((USER, user), (AGENT, agent)) if f is not None})

    def user_sent(self, t: float, payload: object) -> None:
        """``input_audio_buffer.append``'s base64 was handed over at ``t``.

        Raises:
            ValueError: the payload is no base64 audio.
        """
        decoder, channels = self._input(USER)
        samples = decoder.decode_base64(payload)
        if not self._user_fed:
            channels.user.chunk(t, samples)

    def agent_received(self, t: float, item_id: str, payload: object, *, muted: bool = False) -> None:
        """``response.output_audio.delta``'s base64 arrived at ``t``; muted speech is not heard.

        Raises:
            ValueError: the payload is no base64 audio.
        """
        decoder, channels = self._input(AGENT)
        channels.agent.received(t, item_id, decoder.decode_base64(payload), muted=muted)

    def user_fed(self, t: float, pcm: bytes, at: float | None = None) -> None:
        """The application recorded PCM16 of the user itself, from ``at`` on if it says so.

        With the first of it, all that was captured automatically is taken back.
        """
        decoder, channels = self._input(USER, fed=True)
        samples = decoder.decode(pcm)
        if not len(samples):
            return
        if not self._user_fed:
            self._user_fed = True
            channels.user.restart()
        if at is None:
            channels.user.chunk(t, samples)
        else:
            channels.user.chunk_at(at, samples)

    def agent_fed(self, t: float, pcm: bytes, at: float | None = None) -> None:
        """The application played PCM16 of the agent itself, from ``at`` on if it says so.

        With the first of it, all that was captured automatically is taken back.
        """
        decoder, channels = self._input(AGENT, fed=True)
        channels.agent.fed(t, decoder.decode(pcm), at)

    def barge_in(self, t: float) -> list[Cut]:
        """What the agent still had to say at ``t`` is not heard."""
        return [] if self._channels is None else self._channels.agent.barge_in(t)

    def truncate(self, t: float, item_id: str, heard_ms: float) -> Cut | None:
        """``conversation.item.truncate`` was sent at ``t``; None when nothing of the item arrived."""
        return None if self._channels is None else self._channels.agent.truncate(t, item_id, heard_ms)

    def truncate_refused(self, item_id: str) -> Cut | None:
        """The server refused the item's latest truncation; tells how it is cut all the same, if it is."""
        return None if self._channels is None else self._channels.agent.truncate_refused(item_id)

    def playing_until(self, item_id: str) -> float | None:
        """When the last of the item is heard, in seconds; None when nothing of it is."""
        return None if self._channels is None else self._channels.agent.playing_until(item_id)

    def advance(self, t: float) -> None:
        """Time went on to ``t``."""
        if self._channels is not None:
            self._channels.user.advance(t)

    def close(self, t: float) -> list[Cut]:
        """The conversation ended at ``t``: audio still queued was not heard."""
        if self._channels is None:
            return []
        self._channels.user.close()
        return self._channels.agent.barge_in(t, final=True)

    def take_writes(self) -> list[ChannelWrite]:
        """What is to be written since the last call, in order."""
        if self._channels is None:
            return []
        user, agent = self._channels.user, self._channels.agent
        writes = [ChannelWrite(USER, write) for write in user.writes]
        user.writes.clear()
        return writes + [ChannelWrite(AGENT, write) for write in agent.take_writes()]

    def _input(self, channel: int, *, fed: bool = False) -> tuple[Decoder, _Channels]:
        wanted = Format("pcm16", self._fed_rate) if fed else self._formats.get(channel, PCM16)
        if self._channels is None:
            rate = max((known.rate for known in self._formats.values()), default=wanted.rate)
            self._channels = _Channels(Microphone(rate), AgentChannel(rate), rate)
        decoder = self._decoders.get((channel, fed))
        if decoder is None or decoder.format != wanted:
            decoder = self._decoders[channel, fed] = Decoder(wanted, self._channels.rate)
        return decoder, self._channels
