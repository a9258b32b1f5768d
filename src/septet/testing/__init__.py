"""Conformance suites that anybody can run on their own classes; each loads on first use."""
