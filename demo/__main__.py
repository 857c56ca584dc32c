"""The command `python -m demo`: holds one conversation, and prints where its trace and its recording are."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from demo.display.library_output import native_stderr_discarded
from demo.session import Outcome, run_session
from langsmith_realtime.cli.main import main as command

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo. Returns the exit code: 0, or 1 after an error whose message was printed to stderr."""
    options = _parser().parse_args(arguments)
    outcome = Outcome(options.output)
    with native_stderr_discarded(), suppress(KeyboardInterrupt):  # Ctrl-C ends a conversation in the ordinary way
        asyncio.run(run_session(outcome, model_name=options.model, speak=options.speak, seconds=options.seconds))
    print(outcome.summary())
    if outcome.error:
        print(outcome.error, file=sys.stderr)
    elif options.view and outcome.view_command:
        print()
        return command(outcome.view_command)
    return 1 if outcome.error else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Talk to a weather agent, then read its trace and listen to its recording. "
        "The agent runs on OpenAI if OPENAI_API_KEY is set, otherwise on a model server bundled with the demo. "
        "The trace goes to LangSmith if LANGSMITH_API_KEY is set, otherwise to a collector on this machine.",
    )
    parser.add_argument(
        "--speak",
        action="store_true",
        help="let the bundled user speak, in real time and without sound output, instead of opening a microphone "
        "and a speaker",
    )
    parser.add_argument("--seconds", type=float, help="end the conversation after this many seconds")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo-output"),
        help="folder for the recording and the trace; files of an earlier conversation are replaced "
        "(default: ./demo-output)",
    )
    parser.add_argument("--view", action="store_true", help="open the page of the conversation at the end")
    parser.add_argument("--model", default="gpt-realtime", help="OpenAI Realtime model (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
