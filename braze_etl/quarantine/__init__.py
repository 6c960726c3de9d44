"""What was set aside, kept for a look and a replay."""
