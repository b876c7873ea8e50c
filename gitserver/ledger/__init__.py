"""What happened, who did it, and what serves now: the one place that speaks SQL."""
