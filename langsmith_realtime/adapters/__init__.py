"""Change here how a conversation is connected to the package: only these modules know somebody else's SDK."""
