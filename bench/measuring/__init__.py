"""Subprocesses that measure one way to trace, and their clocks and gauges; `bench.__main__` starts them."""
