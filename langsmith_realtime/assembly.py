"""The parts of one conversation on the worker's side, put together: live, recovered and replayed alike."""

from __future__ import annotations

from dataclasses import dataclass

from langsmith import Client

from langsmith_realtime.audio.tracks import AGENT, USER, Tracks
from langsmith_realtime.conversation import Conversation
from langsmith_realtime.family import Family
from langsmith_realtime.guard import Guard
from langsmith_realtime.journal import Journal
from langsmith_realtime.options import Options
from langsmith_realtime.privacy import Privacy, hidden_sides
from langsmith_realtime.recorder import Recorder
from langsmith_realtime.runs import Runs
from langsmith_realtime.sender import Sender
from langsmith_realtime.session import Session


@dataclass(frozen=True, slots=True)
class Assembled:
    """A session and what it works with."""

    session: Session
    runs: Runs
    recorder: Recorder | None
    privacy: Privacy
    #: The channels of the recording that are not hidden.
    sounds: frozenset[int]

    def journal(self, journal: Journal) -> None:
        """What is sent is settled there, and the recording is made beside it."""
        self.runs.journal = journal
        if self.recorder is not None:
            self.recorder.folder = journal.folder


def assemble(options: Options, family: Family, sender: Sender, feedback: Sender, guard: Guard) -> Assembled:
    """What a conversation is traced with."""
    client: Client = family.root.client
    recorder, sounds = None, frozenset[int]()
    if options.recording is not None:
        hidden = set(hidden_sides(client))
        recorder = Recorder(
            options.recording,
            name=str(family.root.id),
            limit_s=options.max_audio_seconds,
            hidden=hidden,
            guard=guard,
            aside=sender.aside,
        )
        sounds = frozenset({USER, AGENT} - hidden)
    tracks = Tracks(
        options.sample_rate,
        user_format=options.user_format,
        agent_format=options.agent_format,
        rate=None if options.recording is None else options.recording.sample_rate,
    )
    conversation = Conversation(tracks=tracks, prices=options.prices)
    privacy = Privacy.of(client, guard, redact=options.redact, transcripts=options.transcripts)
    runs = Runs(family, family.holding or sender, feedback, privacy)
    session = Session(conversation, runs, recorder, guard, options.feedback, holding=family.holding)
    return Assembled(session, runs, recorder, privacy, sounds)
