"""Change here what the events of a conversation mean: responses, tool calls, turns, interruptions, metrics."""
