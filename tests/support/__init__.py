"""Helpers that several test files use. Nothing imports from a test file."""
