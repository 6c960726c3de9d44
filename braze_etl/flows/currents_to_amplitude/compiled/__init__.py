"""A function for each writer schema under a plan: it decodes and maps at once."""
