"""Running Impasto: the one-machine runner; Dockerfiles and compose files stand beside it."""
