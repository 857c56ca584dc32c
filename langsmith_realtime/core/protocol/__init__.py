"""Change here how the Realtime protocol is read: events, items, session configuration, audio formats, usage, prices."""
