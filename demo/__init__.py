"""A weather agent to talk to: `python -m demo`."""
