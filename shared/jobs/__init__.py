"""Jobs: the record, its life, and the store that keeps it.

The record in Redis is the truth; a Celery message is a doorbell (docs/architecture.md).
"""
