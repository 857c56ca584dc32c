"""Change here what depends on the inside of LangSmith's client: no other package uses its private names."""
