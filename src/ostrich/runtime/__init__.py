"""What every room stands on: files, resumable computation, settings, randomness, events."""
