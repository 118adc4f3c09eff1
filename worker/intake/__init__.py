"""Bringing pictures into the house: fetch a URL safely, decode it in a sandboxed child, keep a clean copy."""
