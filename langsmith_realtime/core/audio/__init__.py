"""Change here how the audio of both channels is decoded, resampled and placed at its time in the recording."""
