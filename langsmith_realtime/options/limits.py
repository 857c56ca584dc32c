"""Limits of memory, time and size that all conversations of a process share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Limits:
    """The limits that a process passes to its workers and senders.

    Attributes:
        queue_audio_entries: number of entries waiting for one worker from which audio is dropped. 500 conversations
            with chunks of 20 ms in both directions reach it in about a second.
        queue_audio_bytes: bytes of waiting audio, as sent or received, from which audio is dropped: 2 s of both sides
            of 500 conversations.
        queue_light_entries: number of waiting entries from which light events are dropped
            (:meth:`~langsmith_realtime.live.bounded_queue.Intake.put_event`).
        queue_entries: number of waiting entries from which everything but the opening, silencing and closing of
            conversations is dropped.
        batch_chunks: largest number of consecutive microphone chunks that the worker processes in one call.
        batch_bytes: largest number of their bytes.
    """

    queue_audio_entries: int = 50_000
    queue_audio_bytes: int = 128_000_000
    queue_light_entries: int = 150_000
    queue_entries: int = 200_000
    batch_chunks: int = 100
    batch_bytes: int = 1_000_000
