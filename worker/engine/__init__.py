"""Gatys style transfer as a library: tensors and a spec in, a picture out; no Celery, Redis, S3 or HTTP."""
