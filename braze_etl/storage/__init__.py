"""A folder and S3 behind one small port: list, open, put and delete objects by key."""
