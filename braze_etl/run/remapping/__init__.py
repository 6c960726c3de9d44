"""Changing one's mind: which records of the past the mapping in force would send."""
