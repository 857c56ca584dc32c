"""Frames that no honest peer sends, and a fuzzer that looks for worse ones."""
