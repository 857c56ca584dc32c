"""Sounds, devices and how far a recording is off: what tests of audio share."""
