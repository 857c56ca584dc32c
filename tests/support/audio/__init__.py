"""Shared by tests of audio: test signals, virtual devices, and measurements of a recording's errors."""
