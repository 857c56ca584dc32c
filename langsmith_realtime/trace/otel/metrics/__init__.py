"""The metrics: the instruments that all conversations share, and the measurements of each conversation."""
