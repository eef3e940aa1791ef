"""Static batching: what waits is computed together with `generate()`, for networks whose rows cannot join and leave."""
