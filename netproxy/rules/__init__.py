"""Rules in the kernel, whatever they are for: what is written is only what differs."""
