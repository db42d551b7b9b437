"""Accounting records that no server takes, kept on disk until one does."""
