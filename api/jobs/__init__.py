"""Jobs over HTTP: one submitted, polled, listed, canceled, tried again, deleted, and its pictures."""
