"""What qexp costs, beside what a researcher would do instead: `python -m benchmarks.main_job`."""
