"""What api and worker both need: settings, spec, job store, object store, Celery app. No flask, no torch."""
