"""What is known of a workflow before it runs."""
