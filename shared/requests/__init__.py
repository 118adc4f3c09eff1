"""What callers ask for, and whether it can be done: read, checked and resolved the same wherever it comes in.

A single job is checked while its caller waits, in the API; the items of a large batch are checked later, by a
chores worker. Neither flask nor torch.
"""
