"""The names of a conversation's metrics. docs/numbers.md defines each of them."""

from __future__ import annotations

from langsmith_realtime.core.protocol.usage import MODALITIES

#: The latencies of a response; its run has each as ``<name>_ms``.
LATENCIES = ("latency_to_first_audio", "voice_to_voice", "time_to_first_token", "barge_in_reaction")

#: The percentiles of each latency on the root.
PERCENTILES = (50, 95)

#: The numbers of the root that may be feedback scores, and that ``keep=`` may compare.
NAMES = (
    "duration_s",
    "turns",
    "interruptions",
    "errors",
    "event_count",
    *(f"{name}_{which}_ms" for name in LATENCIES for which in ("p50", "p95", "max")),
    "heard_share",
    "user_talk_s",
    "agent_talk_s",
    "overlap_s",
    "silence_s",
    "longest_silence_s",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    *(f"{what}_{name}_tokens" for what in ("input", "output", "cached") for name in MODALITIES),
    "cached_tokens",
    "reasoning_tokens",
    "transcription_seconds",
    "transcription_input_tokens",
    "transcription_output_tokens",
    "estimated_cost_usd",
)

#: The scores of ``feedback=True``: counts, latencies, the heard share and the cost.
SCORES = (
    "turns",
    "interruptions",
    "errors",
    "latency_to_first_audio_p50_ms",
    "latency_to_first_audio_p95_ms",
    "voice_to_voice_p50_ms",
    "voice_to_voice_p95_ms",
    "heard_share",
    "estimated_cost_usd",
)
