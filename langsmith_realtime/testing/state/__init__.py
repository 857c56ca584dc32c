"""Change here the server's state: session, items, formats, dialects, usage and errors."""
