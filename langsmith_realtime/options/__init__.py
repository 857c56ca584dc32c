"""Change here what a caller may set: an option's type, its default and its check."""
