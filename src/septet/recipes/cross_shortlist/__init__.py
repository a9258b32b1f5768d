"""A fair shortlist drawn from the scores of a group-robust classifier."""
