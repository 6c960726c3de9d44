"""What was set aside because it can't be sent as it is: filed with its position and reason, replayable.

The payload is kept only where the configuration says so, and for a limited time: a replay reads the record
again from its source file, while that exists.
"""
