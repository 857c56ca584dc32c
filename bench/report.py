"""Measurements → Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

#: What was measured, by way.
Results = Mapping[str, Mapping[str, float]]

TITLES = {
    "plain": "not traced",
    "off": "ours, switched off",
    "guide": "by hand, as in LangSmith's guide",
    "langsmith": "LangSmith's `wrap_realtime`",
    "ours": "ours, with its recording",
}

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
    plain = results["plain"]
    events = _events(plain)
    lines = [
        f"\n{turns} turns of 5 s, {events:.0f} events, {plain['appends']:.0f} chunks sent; median of {repeat} runs\n",
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
            (
                (
                    TITLES[way],
                    _added(result, plain, "delta_us", ".1f"),
                    _added(result, plain, "other_us", ".1f"),
                    _added(result, plain, "append_us", ".1f"),
                    f"{(result['loop_s'] - (0 if way == 'plain' else plain['loop_s'])) / events * 1e6:.1f}",
                    _added(result, plain, "process_s", ".2f"),
                    f"{result['stall_ms']:.1f}",
                    f"{result['memory_mb']:.1f}",
                    f"{result['runs']:.0f}",
                    f"{result['operations'] / max(result['runs'], 1):.2f}",
                    f"{result['sent_bytes'] / max(result['runs'], 1):.0f}",
                )
                for way, result in results.items()
            ),
        ),
        "\nCPU of the first row is the loop's own; in the others it is what tracing adds to it. Bytes are on the wire,",
        "the recording included.",
    ]
    if {"langsmith", "ours"} <= results.keys():
        lines += ["", *_ratios(results)]
    return "\n".join(lines)


def _ratios(results: Results) -> list[str]:
    plain, theirs, ours = results["plain"], results["langsmith"], results["ours"]

    def added(key: str) -> float:
        return (ours[key] - plain[key]) / (theirs[key] - plain[key])

    def each(key: str) -> float:
        return ours[key] / ours["runs"] / (theirs[key] / theirs["runs"])

    ratios = {
        "CPU added to the loop's thread": added("loop_s"),
        "longest stall of the loop": ours["stall_ms"] / theirs["stall_ms"],
        "peak memory added": added("memory_mb"),
        "CPU added to the process": added("process_s"),
        "operations for each run": each("operations"),
    }
    rows = [(title, f"{ratio:.2f}", f"{TARGETS[title]:.2f}") for title, ratio in ratios.items()]
    rows.append(
        ("CPU added to the loop, against the loop itself", f"{ours['loop_s'] / plain['loop_s'] - 1:.3f}", "0.05")
    )
    return _table(("ours against LangSmith's integration", "ratio", "target"), rows)


def growth_with_turns(by_turns: Mapping[int, Results]) -> str:
    """How the cost of one conversation grows with its length."""
    rows = []
    for turns, results in sorted(by_turns.items()):
        plain = results["plain"]
        for way in ("langsmith", "ours"):
            if way in results:
                result = results[way]
                rows.append(
                    (
                        f"{turns}",
                        TITLES[way],
                        f"{(result['loop_s'] - plain['loop_s']) / _events(plain) * 1e6:.1f}",
                        _added(result, plain, "process_s", ".2f"),
                        f"{result['stall_ms']:.1f}",
                        f"{result['memory_mb']:.1f}",
                        f"{result['sent_bytes'] / turns / 1e3:.0f}",
                    )
                )
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


def _events(plain: Mapping[str, float]) -> float:
    return plain["deltas"] + plain["others"]


def _added(result: Mapping[str, float], plain: Mapping[str, float], key: str, form: str) -> str:
    return format(result[key] if result is plain else result[key] - plain[key], form)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" if index == 0 else "---:" for index in range(len(head))), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]
