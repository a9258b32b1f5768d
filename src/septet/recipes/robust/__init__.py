"""Group-robust classification on digits drawn on photographs, and its guarantees."""
