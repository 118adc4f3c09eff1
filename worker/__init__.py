"""The Celery workers: intake, paint and chores, and the engine that paints."""
