"""Change here how the playback of the agent's audio is modelled, and how much of each item the user heard."""
