"""Decoding of media in a child process with limits. Not here: what callers import (lib/data/video.py)."""
