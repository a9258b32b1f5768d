"""Multi-view audio classification: adapted weights against sums, single views and fusion."""
