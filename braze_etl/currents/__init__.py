"""Where Currents files are and what is in them."""
