"""Has an opinion about every event."""
