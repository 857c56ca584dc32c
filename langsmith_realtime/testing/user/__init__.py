"""Change here how the server processes the user's audio: voice activity, the input buffer and transcription."""
