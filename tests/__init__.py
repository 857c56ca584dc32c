"""The tests, in the folders of the package's rooms; ``support`` holds what several of them use."""

from pathlib import Path

#: The checkout.
ROOT = Path(__file__).parents[1]
