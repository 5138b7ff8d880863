"""From YAML to a frozen `RunSpec`; with the command line, the only code that knows Hydra."""
