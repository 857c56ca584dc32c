"""What several test files share. Nothing imports from a test file."""
