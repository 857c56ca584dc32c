"""Change here audio files: the WAV, its smaller forms, silenced spans, and where recordings are stored."""
