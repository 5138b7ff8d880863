"""From YAML to a frozen `RunSpec`; with the entry point, the only code that knows Hydra."""
