"""Where objects are kept: a durable store behind a small contract, and the memory that serves every read."""
