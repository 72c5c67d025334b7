"""What `training.py` measures, one library a file, each run in a process of its own."""
