"""Change here how a conversation is understood. Pure: no clock, no I/O, no LangSmith, no openai."""
