"""What Amplitude would hold: bodies in, replies out."""
