"""Change here how operations are sent: batches, retries, sampling, and LangSmith's client."""
