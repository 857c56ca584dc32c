"""Change here how the scripted agent answers: responses, output items, the timing of deltas, and MCP tools."""
