"""Submit every partition in one batch, and collect the jobs as they finish."""
