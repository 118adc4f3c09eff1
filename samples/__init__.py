"""Sample pictures drawn by the project itself, and the code that draws them.

Numpy and Pillow only; nothing here is imported by the API, the worker or the client.
"""
