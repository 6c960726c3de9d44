"""What a pass would do, and when it would be done: before it begins, and from those before."""
