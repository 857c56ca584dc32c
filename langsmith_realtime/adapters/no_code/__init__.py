"""Tracing without code of the application: an import hook, and what installs it when a process starts."""
