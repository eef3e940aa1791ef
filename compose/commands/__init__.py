"""What each command does; none of them is imported before it is asked for."""
