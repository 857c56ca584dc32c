"""Change here what depends on the internals of LangSmith's client; its private names are used nowhere else."""
