"""Change here what is measured of a response and of a conversation; docs/numbers.md defines each number."""
