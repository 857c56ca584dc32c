"""Speed, measured: run it with ``python -m bench``."""
