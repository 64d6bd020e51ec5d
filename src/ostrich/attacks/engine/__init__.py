"""What runs input-specific attacks: counts, verifies, drops what is done, resumes, writes evidence."""
