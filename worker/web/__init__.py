"""Requests to servers that strangers name, without letting them reach where only we can."""
