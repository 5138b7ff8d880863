"""`python -m qexp.archive COMMAND`: what can be done with archives; one module a command."""
