"""The numbers of one response, for the metadata of its ``model`` run.

Pure. All are whole milliseconds, except ``heard_share``. A number that has no meaning for a response is absent, never
zero. docs/numbers.md has the definitions for users.

======================== ========================================================================================
time_to_first_token      From ``response.created`` to the first delta of any kind.
latency_to_first_audio   From the user's end of speech to the first audio received. The end of speech is the
                         ``audio_end_ms`` of ``speech_stopped``, which includes the silence that turn detection
                         waits for. It counts *written* audio, and is mapped to the time at which that audio was
                         captured. Without ``audio_end_ms``, the arrival of the event counts; with push-to-talk, the
                         end of the audio written before the commit. A sideband connection receives no audio:
                         there, ``output_audio_buffer.started`` counts as the first audio.
voice_to_voice           From the user's last audible sound in the recording, within the turn, to the first audible
                         sound of the answer, as it was heard. Absent if one side was not recorded, or the user was
                         still audible. On a sideband connection, from the end of speech to
                         ``output_audio_buffer.started``.
tool_time                The part of ``latency_to_first_audio`` in which tool calls were at work. Only calls that
                         were announced after the end of speech count.
barge_in_reaction        From the user's start of speech to the last audible sound of the interrupted response. The
                         start is the onset in the recording near ``audio_start_ms``, else ``audio_start_ms``
                         without the padding, mapped to time. On a sideband connection, until the server stopped
                         playing.
spoken, heard            The response's audio that arrived, and the part that was played. ``heard_share`` is
                         ``heard_ms`` divided by ``spoken_ms``. A sideband connection has only ``heard_ms``: how long
                         the server played.
======================== ========================================================================================

Which response has the two latencies, ``latency_to_first_audio`` and ``voice_to_voice``:

===================== ===========================================================================================
greeting first        Nobody spoke, so it has neither latency.
typed input           Neither latency, unless the user's speech before it is still unanswered.
idle timeout          Neither latency, even if the user's speech before it was never answered.
no audio              Neither latency. An answer in text alone still answers the speech.
several responses     The first response with audio that was created after the end of speech has the latencies. If
                      the first response only calls tools, the response after the tools has them, and they include
                      the time of the tools.
parallel responses    The first with audio has the latencies; out-of-band responses never have any.
barge-in              The interrupted response has ``barge_in_reaction``; the answer to the interrupting speech has
                      the latencies. The order of the cancellation and ``speech_started`` makes no difference.
===================== ===========================================================================================
"""

from __future__ import annotations

from langsmith_realtime.core.audio.activity import PAUSE_S, Activity
from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.audio.user.microphone import Microphone
from langsmith_realtime.core.conversation.responses import Response
from langsmith_realtime.core.conversation.tool_times import ToolTimes
from langsmith_realtime.core.conversation.user_turns import Moment, Speech

#: How long after a moment the user's audio of that moment is in the recording at the latest, in seconds: chunks may
#: arrive late, and are placed only once later chunks show when they were captured.
USER_AUDIO_DELAY_S = Microphone.LOOK_AHEAD_S + Tracks.MAX_LAG_S + 0.8
#: How far the user's onset in the recording may lie from the start of speech that turn detection reports, in seconds.
MAX_ONSET_DISTANCE_S = 0.3
#: How much later than the playback model assumes the application may play the audio that it feeds, in seconds.
FED_AUDIO_DELAY_S = 1.0


def user_audio_known_at(response: Response, tracks: Tracks, interrupted_by: Moment | None) -> float:
    """When all of the user's audio that the numbers of a response depend on is in the recording, in seconds.

    0 if they depend on none. ``interrupted_by`` is the start of the speech that interrupted the response, None if no
    speech did.
    """
    if not tracks.has_user_audio:
        return 0.0
    moments = [] if interrupted_by is None else [interrupted_by.received_at]
    if response.user_speech is not None:
        moments += [begin for begin in map(tracks.begins, response.items) if begin is not None][:1]
    return max(moments, default=-USER_AUDIO_DELAY_S) + USER_AUDIO_DELAY_S


def measure(
    response: Response, tracks: Tracks, tool_times: ToolTimes, interrupted_by: Moment | None
) -> dict[str, float]:
    """Return the numbers of a response: the names in the first table of this module, with ``_ms``, and ``heard_share``.

    ``interrupted_by`` is the start of the speech that interrupted the response, None if no speech did.
    """
    seconds = {
        "time_to_first_token": None if response.first_token is None else response.first_token - response.created,
        **_latencies(response, tracks, tool_times),
        "barge_in_reaction": None if interrupted_by is None else _reaction(response, tracks, interrupted_by),
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
    """By ``item_id``, the share of the item's audio that was heard, from 0 to 1; items without audio are left out."""
    spoken = {item_id: tracks.spoken_ms(item_id) for item_id in response.items}
    return {item_id: tracks.heard_ms(item_id) / ms for item_id, ms in spoken.items() if ms}


def _latencies(response: Response, tracks: Tracks, tool_times: ToolTimes) -> dict[str, float | None]:
    """``latency_to_first_audio``, ``tool_time`` and ``voice_to_voice``, in seconds."""
    speech, first_audio = response.user_speech, response.first_audio
    if speech is None or first_audio is None:
        return {}
    ended = speech.ended.time
    latency = first_audio - ended
    latencies: dict[str, float | None] = {
        "latency_to_first_audio": latency,
        "tool_time": tool_times.busy_between(ended, first_audio),
    }
    if not any(map(tracks.spoken_ms, response.items)):
        latencies["voice_to_voice"] = latency  # a sideband connection
        return latencies
    answer_start = _first_audible(response, tracks)
    user_end = _user_audible_until(speech, tracks, answer_start)
    if answer_start is not None and user_end is not None:
        latencies["voice_to_voice"] = answer_start - user_end
    return latencies


def moments(response: Response, tracks: Tracks) -> dict[str, float]:
    """Return where the parts of a response's latency begin and end: metadata keys, and seconds of the recording.

    ``user_audible_from_s`` and ``user_audible_until_s`` are of the utterance that the response answers, and
    ``speech_ended_s`` is the end of speech that ``latency_to_first_audio_ms`` counts from. ``first_audio_s`` is the
    arrival of the response's first audio; ``heard_from_s`` and ``heard_until_s`` are its first and last audible sound.
    A moment that is not known is absent.
    """
    heard_from = _first_audible(response, tracks)
    found: dict[str, float | None] = {"first_audio_s": response.first_audio, "heard_from_s": heard_from}
    ends = [end for end in map(tracks.playing_until, response.items) if end is not None]
    if heard_from is not None and ends and tracks.agent_activity is not None:
        latest = max(ends) + _playback_delay(tracks)
        last_sound = tracks.agent_activity.last_before(latest)
        found["heard_until_s"] = None if last_sound is None else max(heard_from, min(last_sound[1], latest))
    speech = response.user_speech
    if speech is not None and response.first_audio is not None:
        user_end = _user_audible_until(speech, tracks, heard_from)
        found["user_audible_until_s"], found["speech_ended_s"] = user_end, speech.ended.time
        if user_end is not None and speech.started is not None and tracks.user_activity is not None:
            onset = tracks.user_activity.audible_from(_onset(tracks.user_activity, speech.started.time))
            found["user_audible_from_s"] = onset if onset is not None and onset < user_end else None
    return {name: round(value, 3) for name, value in found.items() if value is not None}


def _user_audible_until(speech: Speech, tracks: Tracks, answer_start: float | None) -> float | None:
    """When the user's last audible sound of an utterance ended, in seconds.

    None if that is not known, or the user was still audible when the answer began.
    """
    if tracks.user_activity is None or answer_start is None:
        return None
    # Audio that follows the end of speech by more than a pause is noise, or the user went on speaking.
    until = min(answer_start, speech.ended.time + PAUSE_S)
    since = 0.0 if speech.started is None else speech.started.time - PAUSE_S
    last_sound = tracks.user_activity.last_before(until)
    return last_sound[1] if last_sound is not None and since < last_sound[1] < until else None


def _first_audible(response: Response, tracks: Tracks) -> float | None:
    """When the first audible sound of the response was heard, in seconds; None without one."""
    agent = tracks.agent_activity
    for item_id in response.items:
        begin, end = tracks.begins(item_id), tracks.playing_until(item_id)
        if agent is not None and begin is not None and end is not None:
            audible = agent.audible_from(begin)
            if audible is not None and audible < end + _playback_delay(tracks):
                return audible
    return None


def _reaction(response: Response, tracks: Tracks, interrupted_by: Moment) -> float | None:
    """``barge_in_reaction`` in seconds; None if the response was not audible after the user started to speak."""
    start = interrupted_by.time if tracks.user_activity is None else _onset(tracks.user_activity, interrupted_by.time)
    ends = [end for end in map(tracks.playing_until, response.items) if end is not None]
    if not ends:
        agent_end = response.play_ended
    else:
        latest = max(ends) + _playback_delay(tracks)
        last_sound = None if tracks.agent_activity is None else tracks.agent_activity.last_before(latest)
        agent_end = None if last_sound is None else min(last_sound[1], latest)
    return agent_end - start if agent_end is not None and agent_end > start else None


def _onset(user: Activity, start: float) -> float:
    """When the user became audible within 0.3 s of ``start``, in seconds; ``start`` itself if that is not found."""
    utterances = user.intervals(start - MAX_ONSET_DISTANCE_S - PAUSE_S, start + MAX_ONSET_DISTANCE_S, pause=PAUSE_S)
    near = [begin for begin, _ in utterances if abs(begin - start) <= MAX_ONSET_DISTANCE_S]
    return min(near, key=lambda begin: abs(begin - start), default=start)


def _playback_delay(tracks: Tracks) -> float:
    """How much later than the playback model assumes the response's audio may be in the recording, in seconds."""
    return FED_AUDIO_DELAY_S if tracks.sources().get("recording_source") in ("tap", "timed_tap") else 0.0
