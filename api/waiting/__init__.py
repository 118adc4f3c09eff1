"""Answers that are given later: streams of events, and polls that wait for a change.

A request that waits is checked and authorised by Flask in one of gunicorn's threads, as any other. Then its
connection is taken from gunicorn (`handover`) and the thread is free again. What is left of a waiting caller
is a socket and a few fields, served by three threads a process, whatever the number of callers:

    tail          reads the stream of changes from Redis                      (waits for Redis)
    hub           knows who waits for what, reads records, renders answers     (waits for its queue)
    connections   writes to sockets, notices who has gone                     (waits for sockets)

They start with the first caller that waits. `docs/decisions/0009-waiting.md` says why so.
"""
