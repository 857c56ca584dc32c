"""Change here how the server hears: voice activity, committed input and transcription."""
