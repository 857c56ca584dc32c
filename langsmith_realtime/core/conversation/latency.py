"""The numbers of one response, for the metadata of its ``model`` run.

Pure. Milliseconds, whole; a number that has no meaning for a response is absent, never zero.

======================== ========================================================================================
time_to_first_token      ``response.created`` → its first delta of any kind.
latency_to_first_audio   The user's end of speech → its first audio received. The end of speech is
                         ``speech_stopped``'s ``audio_end_ms``, which counts audio *written* and is mapped to when
                         that was captured; it includes the silence turn detection waits for. Without it, it is
                         the event's arrival; with push-to-talk, the end of what was written at the commit. On a
                         sideband connection, which receives no audio, ``output_audio_buffer.started`` stands for
                         the first audio.
voice_to_voice           The user's last audible sound in the recording, within the turn → the first audible sound
                         of the answer as it was heard. Absent when a side was not recorded, or the user was still
                         audible. On a sideband connection, from the end of speech to the server's start.
tool_time                Of ``latency_to_first_audio``, while tool calls announced in it were at work.
barge_in_reaction        The user's start of speech → the interrupted agent's last audible sound. The start is
                         ``audio_start_ms`` without the padding, mapped like the end, or the onset in the
                         recording beside it. On a sideband connection until the server stopped playing.
spoken, heard            Its audio that arrived, and what of that was played. ``heard_share`` is their quotient.
======================== ========================================================================================

===================== ===========================================================================================
greeting first        Nobody spoke: neither latency.
typed input           The same, unless the user's speech before it is still unanswered.
idle timeout          Nobody spoke: neither latency, not even from speech before it that was never answered.
no audio              Neither latency; an answer in text alone answers the speech all the same.
several responses     The first with audio that was created after the speech has the latencies. After a response
                      of nothing but tool calls that is the answer after the tools: their time is inside.
at once               In parallel likewise the first with audio; out-of-band ones have none.
barge-in              The interrupted response has the reaction; the user's new speech, when it ends, the answer.
                      It makes no difference whether the cancellation comes before ``speech_started``.
===================== ===========================================================================================
"""

from __future__ import annotations

from langsmith_realtime.core.audio.activity import PAUSE_S, Activity
from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.audio.user.microphone import Microphone
from langsmith_realtime.core.conversation.responses import Response
from langsmith_realtime.core.conversation.tool_calls import ToolTimes
from langsmith_realtime.core.conversation.user_turns import Moment

#: How long after a moment, in seconds, the user's channel is known up to there: chunks are held up, then placed late.
USER_PATIENCE = Microphone.LOOK_AHEAD_S + Tracks.LATE + 0.8
#: How far the user's onset in the recording lies from where turn detection heard it, at most, in seconds.
ONSET_S = 0.3
#: How much later than the model of playback has it the application may play what it says it plays, in seconds.
TAP_S = 1.0


def known_at(response: Response, tracks: Tracks, cut_by: Moment | None) -> float:
    """From when on the numbers of a response are known, as far as they are taken from the user's channel."""
    if tracks.user_activity is None:
        return 0.0
    moments = [] if cut_by is None else [cut_by.told]
    if response.answers is not None:
        moments += [begin for begin in map(tracks.begins, response.items) if begin is not None][:1]
    return max(moments, default=-USER_PATIENCE) + USER_PATIENCE


def measure(response: Response, tracks: Tracks, tools: ToolTimes, cut_by: Moment | None) -> dict[str, float]:
    """The numbers of a response, under the names of the table with ``_ms``.

    ``cut_by`` is the user's start of speech when that cut it off.
    """
    seconds = {
        "time_to_first_token": None if response.first_token is None else response.first_token - response.created,
        **_latencies(response, tracks, tools),
        "barge_in_reaction": None if cut_by is None else _reaction(response, tracks, cut_by),
    }
    numbers: dict[str, float] = {name: value * 1000 for name, value in seconds.items() if value is not None}
    numbers = {f"{name}_ms": round(value) for name, value in numbers.items()}
    spoken = sum(map(tracks.spoken_ms, response.items))
    if spoken and response.in_band:
        heard = sum(map(tracks.heard_ms, response.items))
        numbers |= {"spoken_ms": round(spoken), "heard_ms": round(heard), "heard_share": round(heard / spoken, 3)}
    elif response.play_started is not None and response.play_ended is not None:
        numbers["heard_ms"] = round((response.play_ended - response.play_started) * 1000)
    return numbers


def heard_shares(response: Response, tracks: Tracks) -> dict[str, float]:
    """What share of each item's audio was heard, from 0 to 1; items without audio have none."""
    spoken = {item_id: tracks.spoken_ms(item_id) for item_id in response.items}
    return {item_id: tracks.heard_ms(item_id) / ms for item_id, ms in spoken.items() if ms}


def _latencies(response: Response, tracks: Tracks, tools: ToolTimes) -> dict[str, float | None]:
    speech, answered = response.answers, response.first_audio
    if speech is None or answered is None:
        return {}
    ended = speech.ended.at
    latency = answered - ended
    found = {"latency_to_first_audio": latency, "tool_time": tools.between(ended, answered)}
    if not any(map(tracks.spoken_ms, response.items)):
        found["voice_to_voice"] = latency  # a sideband connection
        return found
    user, heard = tracks.user_activity, _first_heard(response, tracks)
    if user is None or heard is None:
        return found
    # What follows the end of speech by more than a pause is noise, or somebody who went on speaking.
    until = min(heard, ended + PAUSE_S)
    since = 0.0 if speech.started is None else speech.started.at - PAUSE_S
    sound = user.last_before(until)
    if sound is not None and since < sound[1] < until:
        found["voice_to_voice"] = heard - sound[1]
    return found


def _first_heard(response: Response, tracks: Tracks) -> float | None:
    """When the first audible sound of the response was heard."""
    agent = tracks.agent_activity
    for item_id in response.items:
        begin, end = tracks.begins(item_id), tracks.playing_until(item_id)
        if agent is not None and begin is not None and end is not None:
            audible = agent.audible_from(begin)
            if audible is not None and audible < end + _lag(tracks):
                return audible
    return None


def _reaction(response: Response, tracks: Tracks, cut_by: Moment) -> float | None:
    start = cut_by.at if tracks.user_activity is None else _onset(tracks.user_activity, cut_by.at)
    ends = [end for end in map(tracks.playing_until, response.items) if end is not None]
    if not ends:
        silent = response.play_ended
    else:
        sound = None if tracks.agent_activity is None else tracks.agent_activity.last_before(max(ends) + _lag(tracks))
        silent = None if sound is None else min(sound[1], max(ends) + _lag(tracks))
    return silent - start if silent is not None and silent > start else None


def _onset(user: Activity, start: float) -> float:
    """Where the user became audible near ``start``, else ``start`` itself."""
    utterances = user.intervals(start - ONSET_S - PAUSE_S, start + ONSET_S, pause=PAUSE_S)
    near = [begin for begin, _ in utterances if abs(begin - start) <= ONSET_S]
    return min(near, key=lambda begin: abs(begin - start), default=start)


def _lag(tracks: Tracks) -> float:
    return TAP_S if tracks.sources().get("recording_source") in ("tap", "timed_tap") else 0.0
