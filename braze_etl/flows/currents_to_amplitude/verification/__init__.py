"""What was delivered, held against what Amplitude has."""
