"""Static pods: those that a folder of the node asks for, and their mirrors in the API. No API server is needed."""
