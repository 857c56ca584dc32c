"""The spans of a conversation: how they start, which of them is current for callers, and what each of them says."""
