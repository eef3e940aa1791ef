"""HTTP: who may ask, what is read of a request, and what is answered."""
