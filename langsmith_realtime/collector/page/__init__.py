"""The local page: the shape of a conversation, its sound, what can be handed on, and the page's own files."""
