"""One module per kind of answer: each turns an allowed request into a Flask response."""
