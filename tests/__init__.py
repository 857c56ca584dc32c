"""The tests, in a folder for each package. ``support`` has helpers that several test files use."""

from pathlib import Path

#: The root of the repository.
ROOT = Path(__file__).parents[1]
