"""Microphone and speaker: `choice` picks the real or the virtual pair, and both implement `interface.Devices`."""
