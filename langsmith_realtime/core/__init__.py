"""Change here what a conversation means. Pure: no clock, no I/O, no LangSmith, no openai."""
