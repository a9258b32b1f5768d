"""Speech enhancement: the shipped model beside peers, and what attention adds to SEGAN."""
