"""The embedded engine: jobs are simulated on this machine, with a real device's noise."""
