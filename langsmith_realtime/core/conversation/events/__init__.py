"""Change here what an event of the server changes in a conversation, and to which response and item it belongs."""
