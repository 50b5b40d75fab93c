"""Ephemeral stacks: one of its own for a pull request or a test run, gone afterwards whatever happens."""
