"""Change here what happened in a conversation: responses, tools, turns, interruptions, numbers."""
