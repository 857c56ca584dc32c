"""Both channels of the recording: whatever is sent, received, fed and cut becomes writes at one rate.

Pure. The microphone is captured from what is sent, the agent from what is received; a channel that the
application feeds itself is taken from there alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from langsmith_realtime.audio.formats import PCM16, Decoder, Format, Samples, to_rate
from langsmith_realtime.audio.timeline import Cut, Microphone, Playback, Timed, Write

USER, AGENT = 0, 1


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
        self._segment = 0  # a cut ends what was fed before it
        self._writes: list[Write] = []

    def received(self, t: float, item_id: str, samples: Samples) -> None:
        self._received.chunk(t, item_id, samples)
        self._collect()

    def mute(self, item_id: str) -> None:
        self._received.mute(item_id)

    def fed(self, t: float, samples: Samples, at: float | None) -> None:
        if self._fed is None:
            self._received.erase()
            self._collect()
            self._fed = Playback(self._rate)
        if at is None:
            self._fed.chunk(t, str(self._segment), samples)
        elif len(samples):
            self._writes.append(self._timed.place(at, samples))
        self._collect()

    def barge_in(self, t: float) -> list[Cut]:
        cuts = self._received.cut(t)
        if self._fed is not None:
            self._fed.cut(t)
            self._segment += 1
        self._collect()
        return cuts

    def truncate(self, t: float, item_id: str, heard_ms: float) -> Cut | None:
        position = self._received.position_s(item_id, heard_ms)
        cut = self._received.cut_item(item_id, heard_ms)
        if self._fed is not None:
            self._fed.cut_at(t if position is None else position)
            self._segment += 1
        self._collect()
        return cut

    def truncate_refused(self, item_id: str) -> Cut | None:
        cut = self._received.uncut_item(item_id)
        if self._fed is not None:
            until = self._received.playing_until(item_id)
            self._fed.cut_at(1e9 if cut is None or until is None else until)
        self._collect()
        return cut

    def playing_until(self, item_id: str) -> float | None:
        return self._received.playing_until(item_id)

    def take_writes(self) -> list[Write]:
        writes, self._writes = self._writes, []
        return writes

    def _collect(self) -> None:
        if self._fed is None:
            self._writes += self._received.writes
        else:
            self._writes += self._fed.writes
            self._fed.writes.clear()
        self._received.writes.clear()


class Tracks:
    """The two channels of one conversation. Times are seconds since its start."""

    def __init__(self, fed_rate: int = PCM16.rate) -> None:
        #: Hz; None until the first audio decides it.
        self.rate: int | None = None
        self._fed_rate = fed_rate
        self._formats: dict[int, Format] = {}
        self._decoders: dict[tuple[int, bool], Decoder] = {}
        self._user: Microphone | None = None
        self._agent: AgentChannel | None = None
        self._user_fed = False

    def set_formats(self, user: Format | None, agent: Format | None) -> None:
        """The session's formats, as far as they are known."""
        self._formats.update({channel: f for channel, f in ((USER, user), (AGENT, agent)) if f is not None})

    def user_sent(self, t: float, payload: object) -> None:
        """``input_audio_buffer.append``'s base64 was handed over at ``t``.

        Raises:
            ValueError: the payload is no base64 audio.
        """
        decoder = self._decoder(USER)
        samples = decoder.decode_base64(payload)
        user, _ = self._channels(decoder)
        if not self._user_fed:
            user.chunk(t, self._convert(decoder, samples))

    def agent_received(self, t: float, item_id: str, payload: object, *, muted: bool = False) -> None:
        """``response.output_audio.delta``'s base64 arrived at ``t``; muted speech is not heard.

        Raises:
            ValueError: the payload is no base64 audio.
        """
        decoder = self._decoder(AGENT)
        samples = decoder.decode_base64(payload)
        _, agent = self._channels(decoder)
        if muted:
            agent.mute(item_id)
        agent.received(t, item_id, self._convert(decoder, samples))

    def user_fed(self, t: float, pcm: bytes, at: float | None = None) -> None:
        """The application recorded PCM16 of the user itself."""
        decoder = self._decoder(USER, fed=True)
        user, _ = self._channels(decoder)
        if not self._user_fed:
            self._user_fed = True
            user.forget()
        samples = self._convert(decoder, decoder.decode(pcm))
        if at is None:
            user.chunk(t, samples)
        else:
            user.chunk_at(at, samples)

    def agent_fed(self, t: float, pcm: bytes, at: float | None = None) -> None:
        """The application played PCM16 of the agent itself."""
        decoder = self._decoder(AGENT, fed=True)
        _, agent = self._channels(decoder)
        agent.fed(t, self._convert(decoder, decoder.decode(pcm)), at)

    def barge_in(self, t: float) -> list[Cut]:
        """What the agent still had to say at ``t`` is not heard."""
        return self._agent.barge_in(t) if self._agent is not None else []

    def truncate(self, t: float, item_id: str, heard_ms: float) -> Cut | None:
        return self._agent.truncate(t, item_id, heard_ms) if self._agent is not None else None

    def truncate_refused(self, item_id: str) -> Cut | None:
        return self._agent.truncate_refused(item_id) if self._agent is not None else None

    def playing_until(self, item_id: str) -> float | None:
        """When the last of the item is heard, in seconds; None when nothing of it is."""
        return self._agent.playing_until(item_id) if self._agent is not None else None

    def advance(self, t: float) -> None:
        if self._user is not None:
            self._user.advance(t)

    def close(self, t: float) -> list[Cut]:
        """The conversation ended at ``t``: audio still queued was not heard."""
        if self._user is not None:
            self._user.close()
        return self.barge_in(t)

    def take_writes(self) -> list[ChannelWrite]:
        """What is to be written since the last call, in order."""
        writes: list[ChannelWrite] = []
        if self._user is not None:
            writes += [ChannelWrite(USER, write) for write in self._user.writes]
            self._user.writes.clear()
        if self._agent is not None:
            writes += [ChannelWrite(AGENT, write) for write in self._agent.take_writes()]
        return writes

    def _decoder(self, channel: int, *, fed: bool = False) -> Decoder:
        wanted = Format("pcm16", self._fed_rate) if fed else self._formats.get(channel, PCM16)
        decoder = self._decoders.get((channel, fed))
        if decoder is None or decoder.format != wanted:
            decoder = self._decoders[channel, fed] = Decoder(wanted)
        return decoder

    def _channels(self, decoder: Decoder) -> tuple[Microphone, AgentChannel]:
        if self._user is None or self._agent is None:
            rates = [known.rate for known in self._formats.values()] or [decoder.format.rate]
            self.rate = max(rates)
            self._user, self._agent = Microphone(self.rate), AgentChannel(self.rate)
        return self._user, self._agent

    def _convert(self, decoder: Decoder, samples: Samples) -> Samples:
        return to_rate(samples, decoder.format.rate, self.rate or decoder.format.rate)
