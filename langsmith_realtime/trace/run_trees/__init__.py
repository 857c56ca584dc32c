"""Change here LangSmith's RunTrees: ids, parents, the root run and the limits of a trace."""
