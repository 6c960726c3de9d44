"""A folder and S3 behind one small port."""
