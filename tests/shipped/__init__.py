"""Builds the package and tries it as a user gets it: ``make build``."""
