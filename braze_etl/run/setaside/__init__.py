"""What is done about the quarantine: chosen, replayed, given up."""
