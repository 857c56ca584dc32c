"""BoundedQueue: inputs stay in order, are counted for all conversations, and silence takes dropped audio's place."""

from __future__ import annotations

import base64
import itertools
import json
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.core.protocol.events import APPEND
from langsmith_realtime.core.protocol.inputs import (
    Audio,
    ClientFrame,
    Closed,
    DroppedAudio,
    Input,
    Opened,
    Played,
    Ref,
    ServerFrame,
)
from langsmith_realtime.live.bounded_queue import MAX_GAP_BYTES, MAX_GAP_S, BoundedQueue, QueueLoad
from langsmith_realtime.options.limits import Limits
from tests.support.hostile_conversations import SETTINGS

pytestmark = pytest.mark.newest  # no version matters to it

APPENDED = {"type": APPEND}
AUDIO = base64.b64encode(b"\1\1" * 480).decode()
TEXT = json.dumps(APPENDED | {"audio": AUDIO})
PLACE = {"type": "response.output_audio.delta", "response_id": "resp_1", "item_id": "item_1", "content_index": 0}


def chunk(t: float, audio: str = AUDIO) -> Audio:
    return Audio(USER, audio, t, event=APPENDED)


def delta(t: float, audio: str = AUDIO, **fields: Any) -> ServerFrame:
    return ServerFrame(PLACE | {"event_id": f"event_{t}", "delta": audio} | fields, t)


def event(t: float) -> ServerFrame:
    return ServerFrame({"type": "response.done"}, t, Ref(1))


class Conversation:
    """A queue with its notifications, and what the worker took from it."""

    def __init__(self, load: QueueLoad | Limits | None = None) -> None:
        load = load if isinstance(load, QueueLoad) else QueueLoad(load or Limits())
        self.notified: list[BoundedQueue] = []
        self.done: list[Input] = []
        self.queue = BoundedQueue(load, self.notified.append)

    @property
    def waiting(self) -> tuple[int, int]:
        """Number of inputs, and of bytes of audio, that wait."""
        load = self.queue.load
        return load.put - load.taken, load.bytes_put - load.bytes_taken

    def audio(self, *inputs: Input) -> None:
        for each in inputs:
            size = len(each.data) if isinstance(each, Audio) else 1
            self.queue.put_audio(each, size)

    def process(self) -> list[Input]:
        """Take all inputs from the queue, and return them."""
        taken = [each for batch in self.queue.batches(100) for each in batch]
        self.done += taken
        return taken


def full_for_audio() -> Conversation:
    return Conversation(Limits(queue_audio_entries=0))


def test_audio_and_other_inputs_stay_in_order() -> None:
    one = Conversation()
    inputs: list[Input] = [Opened(), chunk(1.0), ClientFrame(TEXT, 1.02), event(1.03), chunk(1.04), Closed(2.0)]
    one.queue.put_always(inputs[0])
    one.audio(*inputs[1:3])
    one.queue.put_event(inputs[3])
    one.audio(inputs[4])
    one.queue.put_always(inputs[5])
    assert one.process() == inputs


def test_the_worker_is_notified_once_until_it_takes_the_inputs() -> None:
    one = Conversation()
    one.audio(chunk(1.0))
    one.queue.put_event(event(1.1))
    assert one.notified == [one.queue]
    one.process()
    one.audio(chunk(1.2))
    assert one.notified == [one.queue] * 2
    one.queue.put_always(Closed(2.0))
    assert one.notified == [one.queue] * 3


def test_an_input_that_is_put_while_others_are_processed_waits_for_the_next_round() -> None:
    one = Conversation()
    one.queue.put_event(event(1.0))
    for t in (2.0, 3.0):
        taken = []
        for batch in one.queue.batches(1):
            one.queue.put_event(event(t))
            taken += batch
        assert taken == [event(t - 1)]
        assert len(one.notified) == t


def test_inputs_are_taken_in_batches() -> None:
    one = Conversation()
    for number in range(5):
        one.audio(chunk(float(number)))
    assert [len(batch) for batch in one.queue.batches(2)] == [2, 2, 1]
    assert list(one.queue.batches(2)) == []


def test_waiting_inputs_and_bytes_are_counted_until_they_are_taken() -> None:
    one = Conversation()
    one.audio(chunk(1.0, "AAAA"), chunk(1.1, "BB=="))
    one.queue.put_event(event(1.2))
    one.queue.put_audio(delta(1.3), 100)
    assert one.waiting == (4, 108)
    batches = one.queue.batches(2)
    next(batches)
    assert one.waiting == (2, 100)
    next(batches)
    assert one.waiting == (0, 0)


def test_the_limits_hold_for_all_conversations_together() -> None:
    load = QueueLoad(Limits(queue_audio_entries=2, queue_light_entries=3, queue_entries=3))
    one, other = Conversation(load), Conversation(load)
    one.audio(chunk(1.0))
    other.audio(delta(1.0))
    one.audio(chunk(1.1))
    other.audio(delta(1.1))
    assert one.queue.dropped == other.queue.dropped == {"dropped_audio_chunks": 1, "dropped_events": 0}
    other.queue.put_event(event(1.2))
    assert load.is_nearly_full
    assert load.is_full
    one.queue.put_event(event(1.2))
    assert one.queue.dropped["dropped_events"] == 1
    one.queue.put_always(Closed(1.3))
    assert one.process() == [chunk(1.0), DroppedAudio(USER, 960, 1.1, event=APPENDED), Closed(1.3)]
    assert other.process() == [delta(1.0), DroppedAudio(AGENT, 960, 1.1, event=PLACE), event(1.2)]
    one.audio(chunk(1.4))
    assert one.process() == [chunk(1.4)]


def test_audio_is_dropped_while_too_many_bytes_wait() -> None:
    one = Conversation(Limits(queue_audio_bytes=10))
    one.queue.put_audio(delta(1.0), 10)
    one.queue.put_audio(delta(1.1), 1)
    one.audio(Audio(USER, b"\1\1", 1.1))
    assert one.queue.dropped["dropped_audio_chunks"] == 2
    one.process()
    one.queue.put_audio(delta(1.2), 1)
    one.audio(Audio(USER, b"\1\1", 1.3))
    assert one.queue.dropped["dropped_audio_chunks"] == 2


def test_light_events_are_dropped_first_and_put_always_drops_none() -> None:
    one = Conversation(Limits(queue_light_entries=1, queue_entries=2))
    one.queue.put_event(event(1.0), light=True)
    assert one.queue.load.is_nearly_full
    one.queue.put_event(event(1.1), light=True)
    one.queue.put_event(event(1.2))
    one.queue.put_event(event(1.3))
    one.queue.put_always(Closed(1.4))
    assert one.process() == [event(1.0), event(1.2), Closed(1.4)]
    assert one.queue.dropped == {"dropped_audio_chunks": 0, "dropped_events": 2}


# Silence in the place of dropped audio


@pytest.mark.parametrize(
    ("dropped", "gap"),
    [
        (chunk(1.0), DroppedAudio(USER, 960, 1.0, event=APPENDED)),
        (ClientFrame(TEXT, 1.0), DroppedAudio(USER, 960, 1.0, event=APPENDED)),
        (Audio(USER, AUDIO, 1.0, event=APPENDED | {"event_id": "e"}), DroppedAudio(USER, 960, 1.0, event=APPENDED)),
        (delta(1.0), DroppedAudio(AGENT, 960, 1.0, event=PLACE)),
        (ServerFrame(json.dumps(delta(1.0).frame), 1.0), DroppedAudio(AGENT, 960, 1.0, event=PLACE)),
        (Audio(USER, b"\1\1", 1.0), DroppedAudio(USER, 2, 1.0)),
        (Audio(AGENT, b"\1\1", 1.0), DroppedAudio(AGENT, 2, 1.0)),
    ],
)
def test_silence_of_equal_length_takes_the_place_of_dropped_audio(dropped: Input, gap: DroppedAudio) -> None:
    one = full_for_audio()
    one.audio(dropped)
    assert one.process() == []
    one.queue.put_event(event(2.0))
    one.queue.put_event(event(3.0))
    assert one.waiting == (2, 0)  # silence takes no event's place
    assert one.process() == [gap, event(2.0), event(3.0)]
    assert one.waiting == (0, 0)
    assert one.queue.dropped == {"dropped_audio_chunks": 1, "dropped_events": 0}


@pytest.mark.parametrize(
    "dropped",
    [
        ClientFrame(APPENDED | {"audio": 7}, 1.0),
        ClientFrame('{"type":"input_audio_buffer.append", and no more', 1.0),
        chunk(1.0, ""),
        chunk(1.0, "="),
        ServerFrame(b"\xff", 1.0),
        delta(1.0, delta=None),
        ServerFrame(json.loads(TEXT), 1.0),  # only the application sends such an event
        ClientFrame(delta(1.0).frame, 1.0),  # only the server sends such an event
        Audio(USER, b"\1\1", 1.0, at=0.5),
        Played("item_1", 20.0, 1.0, 1.0),
    ],
)
def test_what_has_no_audio_or_audio_with_a_time_leaves_no_gap_and_is_counted(dropped: Input) -> None:
    one = full_for_audio()
    one.audio(dropped)
    one.queue.put_always(Closed(2.0))
    assert one.process() == [Closed(2.0)]
    assert one.queue.dropped == {"dropped_audio_chunks": 1, "dropped_events": 0}


def test_the_next_audio_comes_after_the_silence() -> None:
    one = Conversation(Limits(queue_audio_entries=1))
    one.audio(chunk(1.0), chunk(1.02))
    assert one.process() == [chunk(1.0)]
    one.audio(chunk(1.04), ClientFrame(TEXT, 1.06))
    assert one.process() == [DroppedAudio(USER, 960, 1.02, event=APPENDED), chunk(1.04)]
    assert one.queue.dropped["dropped_audio_chunks"] == 2


def test_dropped_events_leave_the_silence_to_the_next_input() -> None:
    one = Conversation(Limits(queue_audio_entries=0, queue_entries=0))
    one.audio(chunk(1.0))
    one.queue.put_event(event(1.1))
    one.queue.put_always(Closed(2.0))
    assert one.process() == [DroppedAudio(USER, 960, 1.0, event=APPENDED), Closed(2.0)]


def test_gaps_of_both_sides_are_joined_and_ordered_by_their_times() -> None:
    one = full_for_audio()
    one.audio(delta(1.0), chunk(1.01), delta(1.02), chunk(1.03), delta(1.04, item_id="item_2"))
    one.queue.put_always(Closed(2.0))
    assert one.process() == [
        DroppedAudio(AGENT, 1920, 1.0, event=PLACE),  # when the first arrived
        DroppedAudio(USER, 1920, 1.03, event=APPENDED),  # when the last was sent
        DroppedAudio(AGENT, 960, 1.04, event=PLACE | {"item_id": "item_2"}),
        Closed(2.0),
    ]


@settings(SETTINGS, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from((chunk, delta)), st.sampled_from((0.0, 0.02, 0.4, 2.0)), st.sampled_from((4, 200_000))
        ),
        max_size=50,
    )
)
def test_gaps_have_the_length_of_what_was_dropped_and_are_short(drops: list[tuple[Any, float, int]]) -> None:
    one, t, expected = full_for_audio(), 0.0, {USER: 0, AGENT: 0}
    dropped: list[tuple[int, float]] = []
    for make, step, size in drops:
        t += step
        one.audio(make(t, "A" * size))
        channel = USER if make is chunk else AGENT
        expected[channel] += size * 3 // 4
        dropped.append((channel, t))
    one.queue.put_always(Closed(t))
    gaps = one.process()[:-1]
    assert [each.t for each in gaps] == sorted(each.t for each in gaps)
    for gap in gaps:
        assert isinstance(gap, DroppedAudio)
        assert gap.size <= MAX_GAP_BYTES
        expected[gap.channel] -= gap.size
        assert (gap.channel, gap.t) in dropped
    assert expected == {USER: 0, AGENT: 0}


def test_a_gap_spans_at_most_half_a_second_so_a_minute_has_few() -> None:
    one = full_for_audio()
    for number in range(3_000):
        one.audio(chunk(number * 0.02), delta(number * 0.02))
    one.queue.put_always(Closed(60.0))
    gaps = one.process()[:-1]
    for channel in (USER, AGENT):
        times = [gap.t for gap in gaps if isinstance(gap, DroppedAudio) and gap.channel == channel]
        assert 60 / MAX_GAP_S / 2 < len(times) < 60 / MAX_GAP_S * 2
        assert max(after - before for before, after in itertools.pairwise(times)) < MAX_GAP_S + 0.1


# Several threads


def test_every_input_of_another_thread_is_taken_in_order() -> None:
    one, many = Conversation(), 20_000
    ended = threading.Event()

    def put() -> None:
        try:
            for number in range(many):
                if number % 3:
                    one.audio(chunk(float(number)))
                else:
                    one.queue.put_event(event(float(number)))
        finally:
            ended.set()

    threading.Thread(target=put).start()
    while not ended.is_set() or one.notified:
        if one.notified:
            one.notified.pop()
            one.process()
    assert [each.t for each in one.done] == list(range(many))
    assert one.waiting == (0, 0)


def test_no_dropped_audio_of_several_threads_is_lost() -> None:
    one, many = full_for_audio(), 2_000

    def drop(make: Any) -> None:
        for number in range(many):
            one.audio(make(number * 0.001, "AAAA"))
            if not number % 10:
                one.queue.put_event(event(number * 0.001))

    threads = [threading.Thread(target=drop, args=(make,)) for make in (chunk, delta)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one.queue.put_always(Closed(10.0))
    gaps = [each for each in one.process() if isinstance(each, DroppedAudio)]
    assert {channel: sum(gap.size for gap in gaps if gap.channel == channel) for channel in (USER, AGENT)} == {
        USER: 3 * many,
        AGENT: 3 * many,
    }
