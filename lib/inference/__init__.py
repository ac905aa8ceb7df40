"""Trained models on whole videos: prediction, test-time augmentation, what people take away."""
