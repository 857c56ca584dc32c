"""Measurements → Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median

#: What was measured, by way.
Results = Mapping[str, Mapping[str, float]]

TITLES = {
    "plain": "not traced",
    "off": "ours, switched off",
    "guide": "by hand, as in LangSmith's guide",
    "langsmith": "LangSmith's `wrap_realtime`",
    "ours": "ours, with its recording",
}

_TIMES = ("delta_us", "other_us", "append_us", "loop_s", "stall_ms")

#: What each ratio should be at most; against LangSmith's integration in the same run.
TARGETS = {
    "CPU added to the loop's thread": 0.10,
    "longest stall of the loop": 0.05,
    "peak memory added": 0.10,
    "CPU added to the process": 0.60,
    "operations for each run": 0.55,
}


def comparison(results: Results, turns: int, repeat: int) -> str:
    """One conversation, handled in each of the ways."""
    one = next(iter(results.values()))
    plain = {key: median(result[f"plain_{key}"] for result in results.values()) for key in _TIMES}
    size = f"{_events(one):.0f} events, {one['appends']:.0f} chunks sent"
    lines = [
        f"\n{turns} turns of 5 s, {size}; median of {repeat} runs\n",
        *_table(
            (
                "",
                "µs per delta",
                "µs per other event",
                "µs per chunk sent",
                "loop µs per event",
                "process s",
                "stall ms",
                "memory MB",
                "runs",
                "operations per run",
                "bytes per run",
            ),
            [
                (
                    TITLES["plain"],
                    *(f"{plain[key]:.1f}" for key in _TIMES[:3]),
                    f"{plain['loop_s'] / _events(one) * 1e6:.1f}",
                    f"{plain['loop_s']:.2f}",
                    f"{plain['stall_ms']:.1f}",
                    *["", "0", "", ""],
                ),
                *(
                    (
                        TITLES[way],
                        *(f"{_added(result, key):.1f}" for key in _TIMES[:3]),
                        f"{_added(result, 'loop_s') / _events(result) * 1e6:.1f}",
                        f"{_process_s(result):.2f}",
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
        "\nCPU of the first row is the loop's own; in the others it is what tracing adds to it. Bytes are on the wire,",
        "the recording included.",
    ]
    if {"langsmith", "ours"} <= results.keys():
        lines += ["", *_ratios(results)]
    return "\n".join(lines)


def _ratios(results: Results) -> list[str]:
    theirs, ours = results["langsmith"], results["ours"]

    def each(key: str) -> float:
        return ours[key] / ours["runs"] / (theirs[key] / theirs["runs"])

    ratios = {
        "CPU added to the loop's thread": _added(ours, "loop_s") / _added(theirs, "loop_s"),
        "longest stall of the loop": ours["stall_ms"] / theirs["stall_ms"],
        "peak memory added": ours["memory_mb"] / theirs["memory_mb"],
        "CPU added to the process": _process_s(ours) / _process_s(theirs),
        "operations for each run": each("operations"),
    }
    rows = [(title, f"{ratio:.2f}", f"{TARGETS[title]:.2f}") for title, ratio in ratios.items()]
    against = ours["loop_s"] / ours["plain_loop_s"] - 1
    rows.append(("CPU added to the loop, against the loop itself", f"{against:.3f}", "0.05"))
    return _table(("ours against LangSmith's integration", "ratio", "target"), rows)


def growth_with_turns(by_turns: Mapping[int, Results]) -> str:
    """How the cost of one conversation grows with its length."""
    rows = [
        (
            f"{turns}",
            TITLES[way],
            f"{_added(result, 'loop_s') / _events(result) * 1e6:.1f}",
            f"{_process_s(result):.2f}",
            f"{result['stall_ms']:.1f}",
            f"{result['memory_mb']:.1f}",
            f"{result['sent_bytes'] / turns / 1e3:.0f}",
        )
        for turns, results in sorted(by_turns.items())
        for way, result in results.items()
        if way in ("langsmith", "ours")
    ]
    head = ("turns", "", "loop µs per event", "process s", "stall ms", "memory MB", "kB sent per turn")
    return "\n".join(["\nGrowth with turns (CPU: what tracing adds)\n", *_table(head, rows)])


def growth_with_conversations(by_count: Mapping[int, Results]) -> str:
    """How it grows with conversations at once, at real speed."""
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
    head = ("at once", "", "loop % of a core", "process %", "stall ms", "latest event ms", "memory MB")
    return "\n".join(["\nConversations at once, at real speed\n", *_table(head, rows)])


def _events(result: Mapping[str, float]) -> float:
    return result["deltas"] + result["others"]


def _added(result: Mapping[str, float], key: str) -> float:
    """What tracing adds to what the plain loop beside it took."""
    return result[key] - result[f"plain_{key}"]


def _process_s(result: Mapping[str, float]) -> float:
    """What it adds in all threads."""
    return _added(result, "loop_s") + result["background_s"]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" if index == 0 else "---:" for index in range(len(head))), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]
