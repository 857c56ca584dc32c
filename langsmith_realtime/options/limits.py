"""Limits of memory, time and size; one set of them applies to all conversations of a process."""

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
            (:meth:`~langsmith_realtime.live.bounded_queue.BoundedQueue.put_event`).
        queue_entries: number of waiting entries from which everything but the opening, silencing and closing of
            conversations is dropped.
        batch_inputs: largest number of inputs of one conversation that the worker takes at once.
        request_runs: largest number of runs in one request to LangSmith.
        request_bytes: largest number of bytes of runs in one request, far below the 20 MB that LangSmith accepts.
        request_wait_s: longest time in seconds that the first run of a request waits for more: a request costs as much
            as 15 runs.
        first_retry_s: seconds until the first retry; the wait doubles with each retry.
        longest_retry_s: longest time between two retries, in seconds.
        waiting_runs: largest number of runs that wait in memory for a destination that does not answer; only the
            journals have more.
        waiting_bytes: bytes of these runs.
        waiting_factor: the limits of waiting runs are this many times higher while the destination answers, and for
            runs that no trace can do without.
        held_bytes: bytes of runs that one conversation holds until its ``keep`` rule decides.
        trace_runs: largest number of runs that LangSmith accepts in one trace.
        trace_low_priority_runs: number of runs in a trace from which runs of low priority are left out.
        trace_medium_priority_runs: number of runs in a trace from which runs of medium priority are left out.
        trace_parents: number of runs that are remembered to have children.
        recovery_interval_s: shortest time between two searches for conversations to recover, in seconds.
    """

    queue_audio_entries: int = 50_000
    queue_audio_bytes: int = 128_000_000
    queue_light_entries: int = 150_000
    queue_entries: int = 200_000
    batch_inputs: int = 1_000
    request_runs: int = 100
    request_bytes: int = 4_000_000
    request_wait_s: float = 1.0
    first_retry_s: float = 1.0
    longest_retry_s: float = 60.0
    waiting_runs: int = 10_000
    waiting_bytes: int = 50_000_000
    waiting_factor: int = 4
    held_bytes: int = 50_000_000
    trace_runs: int = 25_000
    trace_low_priority_runs: int = 20_000
    trace_medium_priority_runs: int = 24_000
    trace_parents: int = 10_000
    recovery_interval_s: float = 60.0
