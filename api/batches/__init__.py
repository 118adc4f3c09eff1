"""Batches of jobs over HTTP: accepted, watched, collected, stopped."""
