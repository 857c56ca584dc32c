"""Measures the cost of tracing and the accuracy of recordings. Run it with ``python -m bench``."""
