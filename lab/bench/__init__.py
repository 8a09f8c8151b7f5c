"""Performance figures: ratios to floors measured in the same run, never timed tests."""
