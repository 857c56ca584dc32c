"""Change here what a script may say, and how it is read from a file or a recording."""
