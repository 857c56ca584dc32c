"""Change here how run data becomes LangSmith runs: their payloads, their nesting, and what is redacted."""
