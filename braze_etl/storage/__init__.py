"""Where bytes lie: a folder and S3 behind one port, to list, open, put and delete objects by key."""
