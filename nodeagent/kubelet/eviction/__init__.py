"""Whom a node sends away when it runs short: thresholds, ranking and limits are pure, ``evictions.py`` acts."""
