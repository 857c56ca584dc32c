"""Change here how the scripted agent answers: responses, their pace, tools of MCP servers."""
