"""Change here the wire's vocabulary: events, items, session settings, audio formats, usage and prices."""
