"""`python -m qexp COMMAND`: what can be done with archives; one module a command."""
