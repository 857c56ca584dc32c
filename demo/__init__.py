"""A voice agent that reports the weather, traced and recorded. Run it with `python -m demo`."""
