"""A Realtime server on 127.0.0.1 that follows a script, for tests of voice agents.

Change here what a script can say (``script``), how the server answers (``agent``), how it processes the user's audio
(``user``) and what it remembers of a session (``state``).

from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn

script = Script(turns=[Turn(Call("lookup_weather", {"city": "Paris"})), Turn(Say("Sunny."))])
with RealtimeServer(script) as server:
    client = AsyncOpenAI(api_key="test", base_url=server.base_url)
    ...
"""

from langsmith_realtime.testing.frame_log import LoggedFrame, Problem, WrongFramesError
from langsmith_realtime.testing.script.replay import Replay
from langsmith_realtime.testing.script.script import (
    Action,
    Call,
    Close,
    Drop,
    Dtmf,
    Emit,
    Event,
    Fail,
    Incomplete,
    McpCall,
    McpServer,
    Pause,
    Raw,
    Say,
    Script,
    Step,
    Turn,
    UserTranscript,
)
from langsmith_realtime.testing.script.script_file import ScriptFileError, load_script
from langsmith_realtime.testing.server import RealtimeServer
from langsmith_realtime.testing.session import Session
from langsmith_realtime.testing.signals import RATE, silence, speech_like, tone
from langsmith_realtime.testing.state.scheduler import Outgoing

__all__ = [
    "RATE",
    "Action",
    "Call",
    "Close",
    "Drop",
    "Dtmf",
    "Emit",
    "Event",
    "Fail",
    "Incomplete",
    "LoggedFrame",
    "McpCall",
    "McpServer",
    "Outgoing",
    "Pause",
    "Problem",
    "Raw",
    "RealtimeServer",
    "Replay",
    "Say",
    "Script",
    "ScriptFileError",
    "Session",
    "Step",
    "Turn",
    "UserTranscript",
    "WrongFramesError",
    "load_script",
    "silence",
    "speech_like",
    "tone",
]
