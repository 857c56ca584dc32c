"""Listens to the realtime sessions of the OpenAI Agents SDK: what the model sends and receives, agents, and tools."""
