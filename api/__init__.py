"""The thin HTTP API: validate, authorise, write the job record, ring the bell. Never imports torch."""
