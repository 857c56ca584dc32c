"""Change here the state of a session and its rules: configuration, items, formats, dialects, usage and errors."""
