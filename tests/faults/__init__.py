"""Faults on the way to the service, through IBM's client and the whole of qexp."""
