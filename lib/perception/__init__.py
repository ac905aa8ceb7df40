"""Frames to boxes to tracks: detectors, trackers, and decoding ahead of them."""
