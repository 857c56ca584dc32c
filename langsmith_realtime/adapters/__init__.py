"""Change here how an application connects a conversation to the package: only these modules know other SDKs."""
