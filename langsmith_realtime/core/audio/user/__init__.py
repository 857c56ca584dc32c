"""Change here where the user's sound belongs in the recording."""
