"""Formats measurements as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median

#: Measurements by way, then by key (see `bench.measuring`).
Results = Mapping[str, Mapping[str, float]]

TITLES = {
    "plain": "not traced",
    "off": "this package, switched off",
    "guide": "by hand, as in LangSmith's guide",
    "langsmith": "LangSmith's `wrap_realtime`",
    "ours": "this package, with its recording",
    "otel": "this package, with its recording and OpenTelemetry's spans",
}

_CPU_KEYS = ("delta_us", "other_us", "append_us")

#: The highest acceptable ratio of this package's cost to the cost of LangSmith's integration in the same run.
TARGETS = {
    "CPU added to the event loop's thread": 0.10,
    "longest stall of the event loop": 0.05,
    "peak memory added": 0.10,
    "CPU added to the process": 0.60,
    "operations per run": 0.55,
}


def comparison(results: Results, turns: int, repeat: int) -> str:
    """Returns the table of one conversation in each of the ways, and the ratios to LangSmith's integration."""
    first = next(iter(results.values()))
    plain = {
        key: median(result[f"plain_{key}"] for result in results.values()) for key in (*_CPU_KEYS, "loop_s", "stall_ms")
    }
    size = f"{_events(first):.0f} events, {first['appends']:.0f} chunks of microphone audio"
    lines = [
        f"\nOne conversation of {turns} turns of 5 s: {size}; median of {repeat} {'run' if repeat == 1 else 'runs'}\n",
        *table(
            (
                "tracing",
                "µs per delta",
                "µs per other event",
                "µs per chunk sent",
                "loop µs per event",
                "process s",
                "longest stall ms",
                "peak memory MB",
                "runs",
                "operations per run",
                "bytes sent per run",
            ),
            [
                (
                    TITLES["plain"],
                    *(f"{plain[key]:.1f}" for key in _CPU_KEYS),
                    f"{plain['loop_s'] / _events(first) * 1e6:.1f}",
                    f"{plain['loop_s']:.2f}",
                    f"{plain['stall_ms']:.1f}",
                    *["", "0", "", ""],
                ),
                *(
                    (
                        TITLES[way],
                        *(f"{_added(result, key):.1f}" for key in _CPU_KEYS),
                        f"{_added(result, 'loop_s') / _events(result) * 1e6:.1f}",
                        f"{_added_process_s(result):.2f}",
                        f"{result['stall_ms']:.1f}",
                        f"{result['memory_mb']:.1f}",
                        f"{result['runs']:.0f}",
                        f"{result['operations'] / max(result['runs'], 1):.2f}",
                        f"{result['sent_bytes'] / max(result['runs'], 1):.0f}",
                    )
                    for way, result in results.items()
                ),
            ],
        ),
        "\nColumns in µs and s are CPU times: of the untraced loop in the first row, added by tracing in the others.",
        "'loop' is the thread of the event loop, 'process' all threads. 'bytes sent' includes the recording.",
    ]
    if {"langsmith", "ours"} <= results.keys():
        lines += ["", *_ratios(results)]
    return "\n".join(lines)


def _ratios(results: Results) -> list[str]:
    theirs, ours = results["langsmith"], results["ours"]

    def per_run(key: str) -> float:
        return ours[key] / ours["runs"] / (theirs[key] / theirs["runs"])

    ratios = {
        "CPU added to the event loop's thread": _added(ours, "loop_s") / _added(theirs, "loop_s"),
        "longest stall of the event loop": ours["stall_ms"] / theirs["stall_ms"],
        "peak memory added": ours["memory_mb"] / theirs["memory_mb"],
        "CPU added to the process": _added_process_s(ours) / _added_process_s(theirs),
        "operations per run": per_run("operations"),
    }
    rows = [(title, f"{ratio:.2f}", f"{TARGETS[title]:.2f}") for title, ratio in ratios.items()]
    against_loop = ours["loop_s"] / ours["plain_loop_s"] - 1
    rows.append(("CPU added to the event loop's thread, relative to the untraced loop", f"{against_loop:.3f}", "0.05"))
    return table(("this package relative to LangSmith's integration", "ratio", "target at most"), rows)


def cost_by_turns(by_turns: Mapping[int, Results]) -> str:
    """Returns the table of the cost of one conversation by its number of turns."""
    rows = [
        (
            f"{turns}",
            TITLES[way],
            f"{_added(result, 'loop_s') / _events(result) * 1e6:.1f}",
            f"{_added_process_s(result):.2f}",
            f"{result['stall_ms']:.1f}",
            f"{result['memory_mb']:.1f}",
            f"{result['sent_bytes'] / turns / 1e3:.0f}",
        )
        for turns, results in sorted(by_turns.items())
        for way, result in results.items()
        if way in ("langsmith", "ours")
    ]
    head = (
        "turns",
        "tracing",
        "loop µs per event",
        "process s",
        "longest stall ms",
        "peak memory MB",
        "kB sent per turn",
    )
    return "\n".join(["\nOne conversation by its length: CPU time that tracing adds\n", *table(head, rows)])


def cost_by_conversations(by_count: Mapping[int, Results]) -> str:
    """Returns the table of the cost of a process by its number of conversations at once, at real speed."""
    rows = [
        (
            f"{count}",
            TITLES[way],
            f"{result['loop_s'] / result['wall_s'] * 100:.1f}",
            f"{result['process_s'] / result['wall_s'] * 100:.1f}",
            f"{result['stall_ms']:.1f}",
            f"{result['late_ms']:.1f}",
            f"{result['memory_mb']:.1f}",
        )
        for count, results in sorted(by_count.items())
        for way, result in results.items()
    ]
    head = (
        "conversations",
        "tracing",
        "loop, % of a processor",
        "process, % of a processor",
        "longest stall ms",
        "largest delay of an event ms",
        "peak memory MB",
    )
    return "\n".join(["\nConversations at once, at real speed: CPU time of the process\n", *table(head, rows)])


def _events(result: Mapping[str, float]) -> float:
    return result["deltas"] + result["others"]


def _added(result: Mapping[str, float], key: str) -> float:
    """Returns by how much the traced conversation exceeds the untraced one beside it."""
    return result[key] - result[f"plain_{key}"]


def _added_process_s(result: Mapping[str, float]) -> float:
    """Returns the CPU seconds that tracing adds in all threads."""
    return _added(result, "loop_s") + result["background_s"]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" if index == 0 else "---:" for index in range(len(head))), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]
