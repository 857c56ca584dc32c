"""Change here where the agent's sound belongs in the recording, and what of it was heard."""
