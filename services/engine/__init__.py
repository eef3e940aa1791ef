"""Text generation behind one Protocol, on the only thread that runs torch."""
