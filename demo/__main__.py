"""`python -m demo`: talk to a weather agent, and find the conversation traced and recorded."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from demo.quiet import native_stderr_silenced
from demo.session import Outcome, talk

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo. Returns the exit code: 0, or 1 after an error that was told in a sentence."""
    options = _parser().parse_args(arguments)
    outcome = Outcome(options.output)
    with native_stderr_silenced(), suppress(KeyboardInterrupt):  # Ctrl-C is how a person ends the conversation
        asyncio.run(talk(outcome, model_name=options.model, speak=options.speak, seconds=options.seconds))
    print(outcome.summary())
    if outcome.error:
        print(outcome.error, file=sys.stderr)
    return 1 if outcome.error else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Talk to a weather agent. With OPENAI_API_KEY it is OpenAI's, else one bundled with the demo; "
        "with LANGSMITH_API_KEY the trace goes to LangSmith, else to a store on this machine.",
    )
    parser.add_argument("--speak", action="store_true", help="let the bundled user talk instead of the microphone")
    parser.add_argument("--seconds", type=float, help="end the conversation after so many seconds")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo-output"),
        help="folder for the recording and the trace; replaces an earlier conversation's (default: ./demo-output)",
    )
    parser.add_argument("--model", default="gpt-realtime", help="the Realtime model (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
