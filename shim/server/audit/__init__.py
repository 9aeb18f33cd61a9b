"""The audit log: who did what and when, one JSON object a line.

``policy`` says of what and how much, ``record`` follows a request through its stages, ``log`` is the file.
"""
