"""What the router tells of itself: counters and traces."""
