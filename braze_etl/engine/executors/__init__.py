"""What carries tasks out."""
