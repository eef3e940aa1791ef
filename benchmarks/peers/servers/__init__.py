"""What a reader of each tool's documentation would write to serve the model; run by the tool's own environment."""
