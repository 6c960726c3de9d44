"""A run, whatever it carries: find, hand out, work, settle, report."""
