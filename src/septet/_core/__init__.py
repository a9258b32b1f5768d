"""What every part of the house stands on: checks, errors, files, extras and randomness."""
