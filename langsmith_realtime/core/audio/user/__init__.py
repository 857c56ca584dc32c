"""Change here how the capture time of the user's audio is determined."""
