"""Where data comes from, what becomes of it, where it goes: a folder for each flow."""
