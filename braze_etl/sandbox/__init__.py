"""A local stand-in for Amplitude that enforces the documented rules; imports nothing of the job."""
