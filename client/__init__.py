"""What a caller needs: a typed Python client and the `impasto` command."""
