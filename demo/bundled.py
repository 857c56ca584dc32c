"""The bundled model: a Realtime server on this machine that holds one conversation, with natural speech."""

from __future__ import annotations

from demo.speech import line
from langsmith_realtime.testing import Call, Say, Script, Turn


def script() -> Script:
    """The agent's side of the conversation, and what the server understands of the user's, whatever is said."""
    return Script(
        turns=[
            Turn(_say("agent-greeting")),
            Turn(Call("lookup_weather", {"city": "Paris"}), think=0.2),
            Turn(_say("agent-paris"), think=0.2),
            Turn(Call("lookup_weather", {"city": "London"}), think=0.2),
            Turn(_say("agent-london"), think=0.2),
            Turn(_say("agent-goodbye"), Call("hang_up"), think=0.2),
        ],
        afterwards=Turn(Call("hang_up")),
        user_transcripts=[line(name).text for name in ("user-paris", "user-london", "user-goodbye")],
        chunk_ms=(100, 140),  # each is there before the one before it was played, also on a busy machine
        speed=2.0,  # slow enough that the barge-in still finds the reply being generated, and cancels it
    )


def _say(name: str) -> Say:
    spoken = line(name)
    return Say(spoken.text, audio=spoken.pcm)
