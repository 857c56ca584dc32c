"""Listens to the realtime sessions of the OpenAI Agents SDK: what the model sends and receives, agents, and tools."""

try:
    import agents  # noqa: F401 - names the package to install: the index has another one that is called agents
except ModuleNotFoundError as missing:
    if missing.name != "agents":
        raise
    remedy = "install it with: pip install 'langsmith-realtime[agents]'"
    raise ModuleNotFoundError(f"The OpenAI Agents SDK is missing; {remedy}", name="agents") from None
