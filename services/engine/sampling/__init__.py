"""From what an action asks for to the next token of every row."""
