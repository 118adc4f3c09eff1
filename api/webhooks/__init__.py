"""Webhooks over HTTP: the secret they are signed with, and the log of what was sent."""
