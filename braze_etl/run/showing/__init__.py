"""What people look at: how a pipeline stands, its history, a file or a mapping in detail."""
